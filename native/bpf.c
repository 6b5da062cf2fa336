/* BPF programs on the tcx hooks, by the raw system call: two commands don't justify libbpf. */
#include "addon.h"
#include "kernel.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOG_BYTES (64 * 1024)
#define NAME_BYTES 16
#define INSTRUCTION_BYTES 8

static int bpf(int command, union bpf_attr *attr) { return (int)syscall(SYS_bpf, command, attr, sizeof *attr); }

static int load_program(const uint8_t *instructions, size_t count, const char *name, char *log) {
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.prog_type = BPF_PROG_TYPE_SCHED_CLS;
  attr.expected_attach_type = VIADUCT_BPF_TCX_INGRESS;
  attr.insns = (uintptr_t)instructions;
  attr.insn_cnt = (uint32_t)count;
  attr.license = (uintptr_t) "GPL";
  memcpy(attr.prog_name, name, NAME_BYTES);
  if (log != NULL) {
    attr.log_level = 1;
    attr.log_buf = (uintptr_t)log;
    attr.log_size = LOG_BYTES;
  }
  return bpf(BPF_PROG_LOAD, &attr);
}

napi_value call_bpfLoad(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  uint8_t *instructions;
  size_t length;
  char name[NAME_BYTES] = {0};
  if (arguments(env, info, 2, argv) == NULL ||
      !bytes_argument(env, argv[0], "instructions", &instructions, &length) ||
      !string_argument(env, argv[1], "name", name, sizeof name)) {
    return NULL;
  }
  if (length == 0 || length % INSTRUCTION_BYTES != 0 || length / INSTRUCTION_BYTES > BPF_MAXINSNS) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "instructions must be 1 to 4096 times 8 bytes");
    return NULL;
  }
  int fd = load_program(instructions, length / INSTRUCTION_BYTES, name, NULL);
  if (fd >= 0) return number(env, fd);

  struct failure failure = {0};
  fail(&failure, "BPF_PROG_LOAD", name);
  char *log = calloc(1, LOG_BYTES);
  if (log != NULL) {
    fd = load_program(instructions, length / INSTRUCTION_BYTES, name, log);
    log[LOG_BYTES - 1] = 0;
  }
  /* A second attempt that succeeds (EAGAIN, memory) is as good as the first. */
  napi_value result = fd >= 0 ? number(env, fd) : throw_failure(env, &failure, log != NULL && log[0] != 0 ? log : NULL);
  free(log);
  return result;
}

napi_value call_bpfAttach(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  char netns[NETNS_PATH_BYTES];
  int32_t program, index, type;
  if (arguments(env, info, 4, argv) == NULL || !int_argument(env, argv[0], "program", &program) ||
      !string_argument(env, argv[1], "netns", netns, sizeof netns) ||
      !int_argument(env, argv[2], "ifindex", &index) || !int_argument(env, argv[3], "attachType", &type)) {
    return NULL;
  }
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.link_create.prog_fd = (uint32_t)program;
  attr.link_create.target_ifindex = (uint32_t)index;
  attr.link_create.attach_type = (uint32_t)type;
  struct failure failure = {0};
  struct netns place;
  int fd = -1;
  if (netns_enter(&place, netns, &failure) == 0) {
    fd = bpf(BPF_LINK_CREATE, &attr);
    if (fd < 0) fail(&failure, "BPF_LINK_CREATE", NULL);
    netns_leave(&place);
  }
  return fd < 0 ? throw_failure(env, &failure, NULL) : number(env, fd);
}
