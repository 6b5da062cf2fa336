/* The ethtool commands that carry one value: an offload's switch, the link's state. */
#include "addon.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/** The kernel would write more than a struct ethtool_value for any other command. */
static bool has_one_value(int32_t command) {
  static const uint8_t commands[] = {
      ETHTOOL_GMSGLVL, ETHTOOL_SMSGLVL, ETHTOOL_GLINK,   ETHTOOL_GRXCSUM, ETHTOOL_SRXCSUM, ETHTOOL_GTXCSUM,
      ETHTOOL_STXCSUM, ETHTOOL_GSG,     ETHTOOL_SSG,     ETHTOOL_GTSO,    ETHTOOL_STSO,    ETHTOOL_GUFO,
      ETHTOOL_SUFO,    ETHTOOL_GGSO,    ETHTOOL_SGSO,    ETHTOOL_GFLAGS,  ETHTOOL_SFLAGS,  ETHTOOL_GPFLAGS,
      ETHTOOL_SPFLAGS, ETHTOOL_GGRO,    ETHTOOL_SGRO,
  };
  return command >= 0 && command <= UINT8_MAX && memchr(commands, command, sizeof commands) != NULL;
}

static int command_value(const char *name, int32_t command, uint32_t *value, struct failure *failure) {
  struct ethtool_value ethtool = {.cmd = (uint32_t)command, .data = *value};
  struct ifreq request = {0};
  memcpy(request.ifr_name, name, IFNAMSIZ);
  request.ifr_data = (char *)&ethtool;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(failure, "socket", NULL);
  int result = ioctl(fd, SIOCETHTOOL, &request) == 0 ? 0 : fail(failure, "SIOCETHTOOL", name);
  close(fd);
  *value = ethtool.data;
  return result;
}

napi_value call_ethtool(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  char netns[NETNS_PATH_BYTES];
  char name[IFNAMSIZ] = {0};
  int32_t command;
  uint32_t value;
  if (arguments(env, info, 4, argv) == NULL || !string_argument(env, argv[0], "netns", netns, sizeof netns) ||
      !string_argument(env, argv[1], "name", name, sizeof name) ||
      !int_argument(env, argv[2], "command", &command) || !mask_argument(env, argv[3], "value", &value)) {
    return NULL;
  }
  if (!has_one_value(command)) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "command must be an ethtool command that carries one value");
    return NULL;
  }
  struct failure failure = {0};
  struct netns place;
  int result = -1;
  if (netns_enter(&place, netns, &failure) == 0) {
    result = command_value(name, command, &value, &failure);
    netns_leave(&place);
  }
  return result == 0 ? number(env, value) : throw_failure(env, &failure, NULL);
}
