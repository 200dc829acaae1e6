// Fills the table of clocks from the JSON API and tells how long that took.
const table = document.querySelector('#clocks')
const started = performance.now()
const response = await fetch('/api/clocks')
const { clocks, at } = await response.json()
for (const { name, price } of clocks) {
  const row = table.insertRow()
  row.insertCell().textContent = name
  row.insertCell().textContent = `${price} €`
}
const took = Math.round(performance.now() - started)
const status = response.headers.get('Cache-Status') ?? 'no cache'
document.querySelector('#source').textContent = `made at ${at}, here in ${took} ms: ${status}`
