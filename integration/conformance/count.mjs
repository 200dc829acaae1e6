// Counts the results of the public HTTP cache test suite as its own summary does.
//
//   node count.mjs SUITE_DIR RESULTS.json REQUIRED OPTIMAL
//
// Prints how many required and optimal tests passed, and each failed one with its
// kind. Tests for browsers only are left out, and a test whose dependency failed
// counts as failed. Exits with 1 when fewer passed than REQUIRED or OPTIMAL.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const [dir, file, required, optimal] = process.argv.slice(2)
const load = (path) => import(pathToFileURL(resolve(dir, path)))
const { default: suites } = await load('tests/index.mjs')
const { determineTestResult, resultTypes } = await load('test-engine/lib/results.mjs')
const results = JSON.parse(readFileSync(file, 'utf8'))

const threshold = { required: Number(required), optimal: Number(optimal) }
const passed = { required: 0, optimal: 0 }
const total = { required: 0, optimal: 0 }
const failed = []
for (const suite of suites) {
  for (const test of suite.tests) {
    const kind = test.kind ?? 'required'
    if (test.browser_only || !(kind in total)) continue
    total[kind]++
    const outcome = determineTestResult(suites, test.id, results)
    if (outcome === resultTypes.pass) {
      passed[kind]++
    } else {
      const name = Object.keys(resultTypes).find((key) => resultTypes[key] === outcome)
      const detail = Array.isArray(results[test.id]) ? results[test.id].join(': ') : ''
      failed.push(`${kind} ${name} ${test.id} ${detail}`.trim())
    }
  }
}

for (const line of failed.sort()) console.log(`  ${line}`)
let enough = true
for (const kind of Object.keys(total)) {
  const ok = passed[kind] >= threshold[kind]
  enough &&= ok
  console.log(`${kind}: ${passed[kind]} of ${total[kind]} (needed: ${threshold[kind]})${ok ? '' : ' TOO FEW'}`)
}
process.exit(enough ? 0 : 1)
