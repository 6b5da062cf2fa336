/*
 * attach(): makes a pool known to the packet calls.
 *
 * They hold plain pointers, so attached memory must outlive the ArrayBuffer's fortunes: an ArrayBuffer can be
 * transferred, and freed elsewhere. Memory of allocate() stays mapped while a pool uses it. Memory from elsewhere is kept by a
 * reference to its buffer; a SharedArrayBuffer needs no more, an ArrayBuffer is looked at in each call (15 ns).
 */
#include "addon.h"

#include <errno.h>
#include <string.h>

static bool anchor_make(napi_env env, struct anchor *anchor, napi_value buffer, void *data) {
  memset(anchor, 0, sizeof *anchor);
  anchor->region = region_join(data);
  if (anchor->region != NULL) return true;
  if (napi_create_reference(env, buffer, 1, &anchor->buffer) != napi_ok) return false;
  napi_is_arraybuffer(env, buffer, &anchor->detachable);
  return !anchor->detachable ||
         napi_get_arraybuffer_info(env, buffer, &anchor->data, &anchor->bytes) == napi_ok;
}

bool pool_check_memory(napi_env env, const struct pool *pool) {
  for (int i = 0; i < 3; i++) {
    const struct anchor *anchor = &pool->anchors[i];
    if (!anchor->detachable) continue;
    napi_value buffer;
    void *data;
    size_t bytes;
    if (napi_get_reference_value(env, anchor->buffer, &buffer) != napi_ok || buffer == NULL ||
        napi_get_arraybuffer_info(env, buffer, &data, &bytes) != napi_ok || data != anchor->data ||
        bytes < anchor->bytes) {
      return false;
    }
  }
  return true;
}

void pool_release(napi_env env, struct pool *pool) {
  for (int i = 0; i < 3; i++) {
    struct anchor *anchor = &pool->anchors[i];
    if (anchor->region != NULL) region_leave(anchor->region);
    if (anchor->buffer != NULL) napi_delete_reference(env, anchor->buffer);
  }
  memset(pool, 0, sizeof *pool);
}

/** The memory of an ArrayBuffer or, which Node-API 8 knows only as that of a view, a SharedArrayBuffer. */
static bool buffer_memory(napi_env env, napi_value buffer, void **data, size_t *bytes) {
  bool plain = false;
  if (napi_is_arraybuffer(env, buffer, &plain) != napi_ok) return false;
  if (plain) return napi_get_arraybuffer_info(env, buffer, data, bytes) == napi_ok && *data != NULL;
  napi_valuetype type;
  napi_value global;
  napi_value constructor;
  napi_value view;
  napi_value viewed;
  napi_typedarray_type element;
  bool same = false;
  return napi_typeof(env, buffer, &type) == napi_ok && type == napi_object && napi_get_global(env, &global) == napi_ok &&
         napi_get_named_property(env, global, "Uint8Array", &constructor) == napi_ok &&
         napi_new_instance(env, constructor, 1, &buffer, &view) == napi_ok &&
         napi_get_typedarray_info(env, view, &element, bytes, data, &viewed, NULL) == napi_ok &&
         element == napi_uint8_array && napi_strict_equals(env, viewed, buffer, &same) == napi_ok && same && *data != NULL;
}

static bool int32s_memory(napi_env env, napi_value array, int32_t **data, size_t *length, napi_value *buffer) {
  napi_typedarray_type type;
  void *memory = NULL;
  if (napi_get_typedarray_info(env, array, &type, length, &memory, buffer, NULL) != napi_ok) return false;
  *data = memory;
  return type == napi_int32_array && memory != NULL;
}

napi_value call_attach(napi_env env, napi_callback_info info) {
  napi_value argv[5];
  struct addon *addon = arguments(env, info, 5, argv);
  if (addon == NULL) return NULL;
  void *slab = NULL;
  size_t slab_bytes, columns_length, status_length;
  int32_t slot_bytes, packets;
  int32_t *columns, *status;
  napi_value buffers[3] = {argv[0]};
  if (!buffer_memory(env, argv[0], &slab, &slab_bytes) ||
      !int32s_memory(env, argv[2], &columns, &columns_length, &buffers[1]) ||
      !int32s_memory(env, argv[4], &status, &status_length, &buffers[2])) {
    bool pending = false;
    napi_is_exception_pending(env, &pending);
    if (!pending) {
      napi_throw_type_error(
          env, "ERR_INVALID_ARG_TYPE", "slab must be an ArrayBuffer, columns and status Int32Arrays, none of them empty");
    }
    return NULL;
  }
  if (!int_argument(env, argv[1], "slotBytes", &slot_bytes) || !int_argument(env, argv[3], "packets", &packets)) return NULL;
  if (slot_bytes < SENDER_BYTES || (size_t)slot_bytes > slab_bytes || slab_bytes / (size_t)slot_bytes > INT32_MAX ||
      packets <= 0 || columns_length / (COLUMN_COUNT + VIRTIO_BYTES / 4) < (size_t)packets || status_length < 2) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "slab, columns or status is too small for so many slots and packets");
    return NULL;
  }
  int32_t handle = 0;
  while (handle < POOLS && addon->pools[handle].used) handle++;
  if (handle == POOLS) {
    struct failure failure = {.error = ENOSPC, .syscall = "attach"};
    return throw_failure(env, &failure, "a thread has at most 64 pools at a time; detach one");
  }
  struct pool *pool = &addon->pools[handle];
  *pool = (struct pool){
      .used = true,
      .slab = slab,
      .slab_bytes = slab_bytes,
      .slots = (uint32_t)(slab_bytes / (size_t)slot_bytes),
      .slot_bytes = (uint32_t)slot_bytes,
      .packets = (uint32_t)packets,
      .columns = columns,
      .virtio = (uint8_t *)(columns + (size_t)COLUMN_COUNT * (size_t)packets),
      .status = status,
  };
  void *data[3] = {slab, columns, status};
  for (int i = 0; i < 3; i++) {
    if (!anchor_make(env, &pool->anchors[i], buffers[i], data[i])) {
      pool_release(env, pool);
      napi_throw_error(env, NULL, "The memory of the pool can't be referred to");
      return NULL;
    }
    pool->detachable |= pool->anchors[i].detachable;
  }
  return number(env, handle);
}

napi_value call_detach(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  struct addon *addon = arguments(env, info, 1, argv);
  int32_t handle;
  if (addon == NULL || !int_argument(env, argv[0], "pool", &handle)) return NULL;
  if ((uint32_t)handle < POOLS && addon->pools[handle].used) pool_release(env, &addon->pools[handle]);
  return NULL;
}
