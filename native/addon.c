/*
 * Registration. Node-API only, version 8, context-aware: every environment (the main thread, each worker) has an
 * instance of its own. A function carries its environment's state as callback data, which comes with the arguments.
 */
#include "addon.h"

#include <stdlib.h>

static void release(napi_env env, void *data, void *hint) {
  (void)hint;
  struct addon *addon = data;
  for (int i = 0; i < POOLS; i++) {
    if (addon->pools[i].used) pool_release(env, &addon->pools[i]);
  }
  free(addon);
}

NAPI_MODULE_INIT() {
  struct addon *addon = calloc(1, sizeof *addon);
  if (addon == NULL) {
    napi_throw_error(env, "ENOMEM", "No memory for the addon");
    return NULL;
  }
  if (napi_set_instance_data(env, addon, release, NULL) != napi_ok) {
    free(addon);
    napi_throw_error(env, NULL, "The addon could not be registered");
    return NULL;
  }
#define PROPERTY(name) {#name, NULL, call_##name, NULL, NULL, NULL, napi_enumerable, addon},
  const napi_property_descriptor properties[] = {CALLS(PROPERTY)};
#undef PROPERTY
  napi_define_properties(env, exports, sizeof properties / sizeof properties[0], properties);
  return exports;
}
