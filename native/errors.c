/* Errors as Node's own: "ENOENT: No such file or directory, open '/run/netns/a'", with code, errno and syscall. */
#include "addon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int fail(struct failure *failure, const char *syscall, const char *subject) {
  failure->error = errno;
  failure->syscall = syscall;
  failure->subject = subject;
  return -1;
}

/* strerrorname_np() is newer than the C library that Node 20 asks for, and musl hasn't got it. */
static const char *name_of(int error) {
#define NAME(code) {code, #code}
  static const struct {
    int error;
    const char *name;
  } names[] = {
      NAME(EPERM),      NAME(ENOENT),       NAME(ESRCH),        NAME(EINTR),         NAME(EIO),
      NAME(ENXIO),      NAME(E2BIG),        NAME(EBADF),        NAME(EAGAIN),        NAME(ENOMEM),
      NAME(EACCES),     NAME(EFAULT),       NAME(EBUSY),        NAME(EEXIST),        NAME(EXDEV),
      NAME(ENODEV),     NAME(ENOTDIR),      NAME(EISDIR),       NAME(EINVAL),        NAME(ENFILE),
      NAME(EMFILE),     NAME(ENOTTY),       NAME(EFBIG),        NAME(ENOSPC),        NAME(EPIPE),
      NAME(ERANGE),     NAME(EDOM),         NAME(ENAMETOOLONG), NAME(ENOSYS),        NAME(ENOTEMPTY),
      NAME(ELOOP),      NAME(EBADFD),       NAME(ENOTUNIQ),     NAME(ENOTSOCK),      NAME(EDESTADDRREQ),
      NAME(EMSGSIZE),   NAME(EPROTO),       NAME(ENOPROTOOPT),  NAME(EOPNOTSUPP),    NAME(EPROTONOSUPPORT),
      NAME(ENOTCONN),   NAME(EAFNOSUPPORT), NAME(EADDRINUSE),   NAME(EADDRNOTAVAIL), NAME(ENETDOWN),
      NAME(ENETUNREACH), NAME(ECONNRESET),  NAME(ENOBUFS),      NAME(ETIMEDOUT),     NAME(ECONNREFUSED),
      NAME(EHOSTDOWN),  NAME(EHOSTUNREACH), NAME(EALREADY),     NAME(EOVERFLOW),     NAME(ESOCKTNOSUPPORT),
      NAME(EPFNOSUPPORT),
  };
#undef NAME
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (names[i].error == error) return names[i].name;
  }
  return "EUNKNOWN";
}

static void set_text(napi_env env, napi_value object, const char *name, const char *text) {
  napi_value value;
  if (napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value) == napi_ok) {
    napi_set_named_property(env, object, name, value);
  }
}

napi_value throw_failure(napi_env env, const struct failure *failure, const char *detail) {
  const char *code = name_of(failure->error);
  bool subject = failure->subject != NULL && failure->subject[0] != 0;
  bool netns = failure->netns != NULL && failure->netns[0] != 0;
  char *text = NULL;
  int length = asprintf(
      &text, "%s: %s, %s%s%s%s%s%s%s%s", code, strerror(failure->error), failure->syscall, subject ? " '" : "",
      subject ? failure->subject : "", subject ? "'" : "", netns ? " in " : "", netns ? failure->netns : "",
      detail != NULL ? "\n" : "", detail != NULL ? detail : "");
  napi_value message;
  napi_value name;
  napi_value error;
  napi_status made = napi_create_string_utf8(env, length < 0 ? code : text, NAPI_AUTO_LENGTH, &message);
  free(length < 0 ? NULL : text);
  if (made != napi_ok || napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_error(env, name, message, &error) != napi_ok) {
    return NULL;
  }
  napi_set_named_property(env, error, "errno", number(env, -failure->error));
  set_text(env, error, "syscall", failure->syscall);
  napi_throw(env, error);
  return NULL;
}
