-- Takes away the marks of channels that a node has left, where nobody else listens to them.
--
-- KEYS in pairs: the mark that push server knows, and who of pullgate's nodes listens
-- ARGV 1 the node, 2 push server's hash of processes, 3 the prefix of the keys that pullgate's processes have

redis.replicate_commands()
local now = tonumber(redis.call('TIME')[1])
-- A process of push server's does not say whether it listens: where there is one, marks go by themselves.
local processes, others = redis.call('HGETALL', ARGV[2]), false
for i = 1, #processes, 2 do
  local date = tonumber(string.match(processes[i + 1], '"date":(%d+)') or '0') / 1000
  if date > now - 70 and redis.call('EXISTS', ARGV[3] .. processes[i]) == 0 then others = true end
end
for i = 1, #KEYS, 2 do
  redis.call('ZREM', KEYS[i + 1], ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[i + 1], '-inf', now)
  if not others and redis.call('EXISTS', KEYS[i + 1]) == 0 then redis.call('DEL', KEYS[i]) end
end
