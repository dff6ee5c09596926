-- gRPC carries a model's name in the message, not in the path. This filter reads the name
-- (field 1) and the version (field 2) of a unary request and hands them to the router as headers.
-- Streams are not buffered: their callers send the header x-model themselves.
--
-- While two releases are compared, their route carries an epoch. Such a request is marked with it
-- and with a hash of its session, for the access log: the session itself is written nowhere.

local bit = require("bit")

local UNARY = { ModelInfer = true, ModelReady = true, ModelMetadata = true, ModelConfig = true }
local FRAME = 5 -- Compression flag and length stand before the message.
local MOST_FIELDS = 1000
local LARGEST_TAG = 4294967296 -- Receivers drop a larger one's upper bits and see another field.

local function varint(body, offset, length)
  if offset >= length then
    return nil, length
  end
  local value, shift = 0, 1
  local bytes = body:getBytes(offset, math.min(10, length - offset))
  for index = 1, #bytes do
    local byte = bytes:byte(index)
    value = value + (byte % 128) * shift
    if byte < 128 then
      return value, offset + index
    end
    shift = shift * 128
  end
  return nil, length
end

-- The message's texts of fields 1 and 2 as its receiver will read them: of several the last one
-- counts. Nothing when the message cannot be read to its end, so that it names no model at all.
local function name_and_version(body, length)
  local texts, offset = {}, FRAME
  for _ = 1, MOST_FIELDS do
    if offset == length then
      return texts[1], texts[2]
    end
    local tag, size
    tag, offset = varint(body, offset, length)
    if tag == nil or tag >= LARGEST_TAG then
      return
    end
    local field, kind = math.floor(tag / 8), tag % 8
    if kind == 0 then
      size, offset = varint(body, offset, length)
      if size == nil then
        return
      end
    elseif kind == 1 or kind == 5 then
      offset = offset + (kind == 1 and 8 or 4)
    elseif kind == 2 then
      size, offset = varint(body, offset, length)
      if size == nil or offset + size > length then
        return
      end
      if field == 1 or field == 2 then
        texts[field] = size > 0 and size < 256 and body:getBytes(offset, size) or nil
      end
      offset = offset + size
    else
      return
    end
  end
end

-- Whether the body is one message: its receiver would read no further than the first.
local function is_one_message(body, length)
  local a, b, c, d = body:getBytes(1, 4):byte(1, 4)
  return ((a * 256 + b) * 256 + c) * 256 + d == length - FRAME
end

local function set(headers, name, value)
  headers:remove(name)
  if value ~= nil and not value:find("[^%w%-%._]") then
    headers:add(name, value)
  end
end

-- FNV-1a, 64 bits, as 16 hexadecimal digits.
local function hash(text)
  local value = 0xcbf29ce484222325ULL
  for index = 1, #text do
    value = bit.bxor(value, text:byte(index)) * 0x100000001b3ULL
  end
  return bit.tohex(value)
end

local MOST_MARKED = 5000000 -- A worker's requests of one epoch: should nobody read, a log ends.
local marked, epochs = {}, 0

local function mark(handle)
  local epoch = handle:metadata():get("epoch")
  if epoch == nil then
    return
  end
  if marked[epoch] == nil then
    marked, epochs = epochs < 100 and marked or {}, epochs < 100 and epochs + 1 or 1
    marked[epoch] = 0
  end
  marked[epoch] = marked[epoch] + 1
  if marked[epoch] > MOST_MARKED then
    return
  end
  local note = handle:streamInfo():dynamicMetadata()
  note:set("sluice", "epoch", epoch)
  local session = handle:headers():get("x-session-id")
  if session ~= nil then
    note:set("sluice", "session", hash(session))
  end
  if marked[epoch] == MOST_MARKED then
    note:set("sluice", "last", "1")
  end
end

local function read_name(handle)
  local method = (handle:headers():get(":path") or ""):match("^/inference%.GRPCInferenceService/(%w+)$")
  if method == nil or not UNARY[method] then
    return
  end
  local body = handle:body()
  local length = body and body:length() or 0
  if length > 0 and body:getBytes(0, 1):byte(1) ~= 0 then
    return -- Compressed: the name is the one in the header x-model, as for streams.
  end
  local name, version
  if length > FRAME and is_one_message(body, length) then
    name, version = name_and_version(body, length)
  end
  local headers = handle:headers() -- Taken anew: waiting for the body made an older one stale.
  set(headers, "x-model", name)
  set(headers, "x-model-version", version)
  handle:clearRouteCache()
end

function envoy_on_request(handle)
  read_name(handle)
  mark(handle)
end
