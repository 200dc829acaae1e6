-- The heartbeat of a node.
-- KEYS[1]  sorted set of the nodes by the time their heartbeat runs out
-- ARGV     identity of the node, milliseconds until its heartbeat runs out
-- Returns  the number of nodes alive
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
