-- Raises a counter from which all nodes take numbers.
--
-- KEYS 1 the counter, 2 what it jumped over, 3 the greatest number left out because the counter was lost
-- ARGV 1 by how much, 2 the greatest number that the node knows, 3 how many to leave out above it if the counter is
--      below it, 4 the first number that may be taken; then pairs: what the node knows to be jumped over
--
-- Answers the counter, KEYS 3, 1 if that is news, and all that was jumped over, in pairs.

local last = tonumber(redis.call('GET', KEYS[1]) or '0')
local count, known, margin, first = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local news = 0
if last < known then
  last = known + margin
  redis.call('SET', KEYS[3], string.format('%d', last))
  news = 1
end
for i = 5, #ARGV, 2 do redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[i + 1]) end
if last + 1 < first then
  redis.call('HSET', KEYS[2], last + 1, first)
  last = first - 1
end
redis.call('SET', KEYS[1], string.format('%d', last + count))
local reply = {last + count, tonumber(redis.call('GET', KEYS[3]) or '0'), news}
for _, number in ipairs(redis.call('HGETALL', KEYS[2])) do table.insert(reply, tonumber(number)) end
return reply
