-- One exchange of a node about one key.
-- KEYS[1]  when the bucket will be full, in microseconds of the server's clock
-- ARGV     rate per second, burst, tokens spent, tokens given back, tokens wanted
-- Returns  the tokens granted, and what is left (a debt when negative)
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or '') or now
local debt = math.max(0, (full - now) * rate / 1000000)
debt = debt + tonumber(ARGV[3]) - tonumber(ARGV[4])
debt = math.min(math.max(debt, 0), 2 * burst + rate)
local free = burst - debt
local granted = math.max(0, math.min(tonumber(ARGV[5]), math.floor(free + 0.001)))
debt = debt + granted
if debt > 0 then
	local wait = debt * 1000000 / rate
	-- tostring would keep 14 digits only.
	redis.call('SET', KEYS[1], string.format('%.3f', now + wait), 'PX', string.format('%.0f', wait / 1000 + 1))
else
	redis.call('DEL', KEYS[1])
end
return {granted, string.format('%.6f', free - granted)}
