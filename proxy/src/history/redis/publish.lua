-- Publishes one message: gives it the next id, stores it, tells every node. One step for all who look.
--
-- KEYS 1 the first ten digits of every id, 2 the counter behind the others, 3 what this node has carried out;
--      then the lists of the channels, if the message is to be stored
-- ARGV 1 number of this message among the node's, 2 whether what came before it is known to be carried out,
--      3 unix seconds, 4 the greatest id that this node knows, as 26 digits, 5 seconds for which it is stored,
--      6 seconds for which a list lives, 7 pub/sub channel of the node, 8 the notification up to the id,
--      9 the notification behind the id, 10 where in it the stored message begins, counted from 1, 11 what the keys
--      of messages begin with

-- A message whose answer was lost comes again, and must not be published again. One that comes although the one
-- before it has failed must wait for that one.
local number = tonumber(ARGV[1])
local carried = tonumber(redis.call('GET', KEYS[3]) or -1)
if number <= carried then return 0 end
if number ~= carried + 1 and ARGV[2] ~= '1' then return -1 end

-- Push server processes keep the first ten digits for as long as they run. So these stay what they were, even if
-- Redis has lost them, and it is the counter that jumps.
local known = string.sub(ARGV[4], 1, 10)
redis.call('SETNX', KEYS[1], tonumber(known) > 0 and known or ARGV[3])
local digits = string.format('%010d%016d', redis.call('GET', KEYS[1]), redis.call('INCR', KEYS[2]))
if digits <= ARGV[4] then
  -- Redis has lost ids that were given. They go on well behind the greatest known one: others may have been
  -- given that never came to this node.
  local counter = tonumber(string.sub(ARGV[4], 11)) + 1000000
  redis.call('SET', KEYS[1], known)
  redis.call('SET', KEYS[2], string.format('%d', counter))
  digits = known .. string.format('%016d', counter)
end
local id = string.gsub(digits, '%d%d', function(pair) return string.char(tonumber(pair, 16)) end)

local notification = ARGV[8] .. id .. ARGV[9]
local expiry = tonumber(ARGV[5])
if expiry > 0 then
  redis.call('SETEX', ARGV[11] .. id, expiry, string.sub(notification, tonumber(ARGV[10])))
  for list = 4, #KEYS do
    redis.call('ZADD', KEYS[list], 0, id)
    if redis.call('TTL', KEYS[list]) < 0 then redis.call('EXPIRE', KEYS[list], ARGV[6]) end
  end
end
redis.call('PUBLISH', ARGV[7], notification)
redis.call('SETEX', KEYS[3], 3600, ARGV[1])
return id
