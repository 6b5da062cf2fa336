/* Arguments and results. Nothing here runs JavaScript but the options, whose properties may be getters. */
#include "addon.h"

#include <stdio.h>
#include <string.h>

struct addon *arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv) {
  void *data = NULL;
  if (napi_get_cb_info(env, info, &count, argv, NULL, &data) != napi_ok) return NULL;
  return data;
}

static bool refuse(napi_env env, const char *name, const char *want) {
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending) return false;
  char message[128];
  snprintf(message, sizeof message, "%s must be %s", name, want);
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return false;
}

/* napi_get_value_int32() would make 0 of NaN and wrap the rest: descriptor 0 is somebody's. */
static bool integer(napi_env env, napi_value value, const char *name, double least, double most, double *out) {
  if (napi_get_value_double(env, value, out) != napi_ok) return refuse(env, name, "a number");
  if (*out >= least && *out <= most && *out == (double)(int64_t)*out) return true;
  char message[128];
  snprintf(message, sizeof message, "%s must be an integer from %.0f to %.0f", name, least, most);
  napi_throw_range_error(env, "ERR_OUT_OF_RANGE", message);
  return false;
}

bool int_argument(napi_env env, napi_value value, const char *name, int32_t *out) {
  double number;
  if (!integer(env, value, name, INT32_MIN, INT32_MAX, &number)) return false;
  *out = (int32_t)number;
  return true;
}

bool mask_argument(napi_env env, napi_value value, const char *name, uint32_t *out) {
  double number;
  if (!integer(env, value, name, INT32_MIN, UINT32_MAX, &number)) return false;
  *out = (uint32_t)(int64_t)number;
  return true;
}

bool int32s_argument(napi_env env, napi_value value, const char *name, int32_t **data, size_t *length) {
  napi_typedarray_type type;
  void *memory = NULL;
  if (napi_get_typedarray_info(env, value, &type, length, &memory, NULL, NULL) != napi_ok || type != napi_int32_array) {
    return refuse(env, name, "an Int32Array");
  }
  if (memory == NULL) *length = 0; /* detached */
  *data = memory;
  return true;
}

bool bytes_argument(napi_env env, napi_value value, const char *name, uint8_t **data, size_t *length) {
  napi_typedarray_type type;
  void *memory = NULL;
  if (napi_get_typedarray_info(env, value, &type, length, &memory, NULL, NULL) != napi_ok || type != napi_uint8_array) {
    return refuse(env, name, "a Uint8Array");
  }
  if (memory == NULL) *length = 0;
  *data = memory;
  return true;
}

bool string_argument(napi_env env, napi_value value, const char *name, char *out, size_t size) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) return refuse(env, name, "a string");
  size_t copied = 0;
  if (length < size && napi_get_value_string_utf8(env, value, out, size, &copied) == napi_ok && strlen(out) == length) {
    return true;
  }
  char message[128];
  snprintf(message, sizeof message, "%s must be at most %zu bytes, none of them NUL", name, size - 1);
  napi_throw_range_error(env, "ERR_OUT_OF_RANGE", message);
  return false;
}

struct pool *pool_argument(napi_env env, struct addon *addon, napi_value value) {
  int32_t handle;
  if (!int_argument(env, value, "pool", &handle)) return NULL;
  if ((uint32_t)handle >= POOLS || !addon->pools[handle].used) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "pool is not a handle that attach() returned");
    return NULL;
  }
  struct pool *pool = &addon->pools[handle];
  if (pool->detachable && !pool_check_memory(env, pool)) {
    napi_throw_type_error(env, "ERR_INVALID_STATE", "The memory of the pool has been detached or resized");
    return NULL;
  }
  return pool;
}

static bool option(napi_env env, napi_value options, const char *name, napi_value *value) {
  napi_valuetype type;
  return (napi_typeof(env, options, &type) == napi_ok && type == napi_object &&
          napi_get_named_property(env, options, name, value) == napi_ok) ||
         refuse(env, "options", "an object");
}

bool int_option(napi_env env, napi_value options, const char *name, int32_t *out) {
  napi_value value;
  return option(env, options, name, &value) && int_argument(env, value, name, out);
}

bool bool_option(napi_env env, napi_value options, const char *name, bool *out) {
  napi_value value;
  if (!option(env, options, name, &value)) return false;
  return napi_get_value_bool(env, value, out) == napi_ok || refuse(env, name, "a boolean");
}

bool string_option(napi_env env, napi_value options, const char *name, char *out, size_t size) {
  napi_value value;
  return option(env, options, name, &value) && string_argument(env, value, name, out, size);
}

napi_value number(napi_env env, double value) {
  napi_value result = NULL;
  if (value == (double)(int32_t)value) {
    napi_create_int32(env, (int32_t)value, &result);
  } else {
    napi_create_double(env, value, &result);
  }
  return result;
}

napi_value new_bytes(napi_env env, const void *data, size_t length) {
  napi_value buffer;
  napi_value array = NULL;
  void *memory = NULL;
  if (napi_create_arraybuffer(env, length, &memory, &buffer) != napi_ok) return NULL;
  if (length > 0) memcpy(memory, data, length);
  napi_create_typedarray(env, napi_uint8_array, length, buffer, 0, &array);
  return array;
}
