-- gRPC carries a model's name in the message, not in the path. This filter reads the name
-- (field 1) and the version (field 2) of a unary request and hands them to the router as headers.
-- Streams are not buffered: their callers send the header x-model themselves.

local UNARY = { ModelInfer = true, ModelReady = true, ModelMetadata = true, ModelConfig = true }
local FRAME = 5 -- Compression flag and length stand before the message.
local MOST_FIELDS = 1000

local function varint(body, offset, length)
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

-- The texts of fields 1 and 2; other fields are stepped over, whatever their order.
local function name_and_version(body, length)
  local texts, offset = {}, FRAME
  for _ = 1, MOST_FIELDS do
    if offset >= length or (texts[1] and texts[2]) then
      break
    end
    local tag, size
    tag, offset = varint(body, offset, length)
    if tag == nil then
      break
    end
    local field, kind = math.floor(tag / 8), tag % 8
    if kind == 2 and offset < length then
      size, offset = varint(body, offset, length)
      if size == nil or offset + size > length then
        break
      end
      if field <= 2 and size > 0 and size < 256 then
        texts[field] = body:getBytes(offset, size)
      end
      offset = offset + size
    elseif kind == 0 and offset < length then
      size, offset = varint(body, offset, length)
    elseif kind == 1 then
      offset = offset + 8
    elseif kind == 5 then
      offset = offset + 4
    else
      break
    end
  end
  return texts[1], texts[2]
end

local function set(headers, name, value)
  headers:remove(name)
  if value ~= nil and not value:find("[^%w%-%._]") then
    headers:add(name, value)
  end
end

function envoy_on_request(handle)
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
  if length > FRAME then
    name, version = name_and_version(body, length)
  end
  local headers = handle:headers() -- Taken anew: waiting for the body made an older one stale.
  set(headers, "x-model", name)
  set(headers, "x-model-version", version)
  handle:clearRouteCache()
end
