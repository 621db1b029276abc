/*
 * What is said when there is no memory for the very code that would say it (cold.h). So the command line is read here once more, as far as it
 * says where errors go, in which form, and with which exit code: what src/cli/main.ts, runtime-main.ts and runtime/log.ts do.
 */
#ifndef LAST_WORDS_H
#define LAST_WORDS_H

#include <time.h>

static char **own_words; /* argv */

static int is_among(const char *word, const char *const *list) {
  for (; *list; list++) if (!strcmp(word, *list)) return 1;
  return 0;
}

/* Of the flags that stand before the command, those that a value follows. */
static const char *const flags_with_value[] = { "--root", "--log", "--log-format", "--log-level", "--cgroup-manager", "--rootless",
                                                "--criu", "--error-format", NULL };
/* Those whose exit code is a container's. */
static const char *const container_commands[] = { "run", "exec", "why", "learn", NULL };

/* The command, or NULL; what stands before it of a flag's value goes to `value`. */
static const char *find_command(const char *flag, const char **value) {
  const size_t length = strlen(flag);
  for (char **word = own_words + 1; *word; word++) {
    if (**word != '-') return *word;
    if (!strncmp(*word, flag, length) && (*word)[length] == '=') *value = *word + length + 1;
    if (!is_among(*word, flags_with_value)) continue;
    if (!word[1]) break;
    if (!strcmp(*word, flag)) *value = word[1];
    word++;
  }
  return NULL;
}

#define LAST_MESSAGE "there is no memory left for tupper"
#define LAST_HINT "raise the limit that tupper itself runs under: ulimit -v, ulimit -d, or that of its control group"

/* Ends the process. `ours`: it is the one that was called, and no child of it, whose files may be a container's. */
_Noreturn static void last_words(const char *call, int error, int ours) {
  const char *name = error == ENOMEM ? "ENOMEM" : error == EPERM ? "EPERM" : error == EACCES ? "EACCES" : "an error";
  const char *text = error == ENOMEM ? "Cannot allocate memory" : strerror(error);
  char kernel[128], object[512], line[1024], stamp[96] = "";
  snprintf(kernel, sizeof kernel, "%s = %s (%s)", call, name, text);
  const char *base = strrchr(own_words[0], '/');
  base = base ? base + 1 : own_words[0];
  const size_t length = strlen(base);
  const int runtime = !strcmp(base, "runc") || !strcmp(base, "crun") ||
                      (!strncmp(base, "tupper", 6) && length >= 14 && !strcmp(base + length - 8, "-runtime"));
  const char *log = NULL, *format = NULL, *command = find_command(runtime ? "--log-format" : "--error-format", &format);
  if (runtime) find_command("--log", &log);
  int code = runtime ? 1 : command && is_among(command, container_commands) ? 125 : 1;
  if (runtime && command && !strcmp(command, "exec")) code = 255;
  if (!ours) log = format = NULL;
  const int json = format && !strcmp(format, "json");
  snprintf(object, sizeof object, "\"code\":\"OUT_OF_MEMORY\",%s\"kernel\":\"%s\",\"syscall\":\"%s\",\"errno\":\"%s\",\"hint\":\"" LAST_HINT "\"",
           runtime ? "" : "\"message\":\"" LAST_MESSAGE "\",", kernel, call, name);
  if (runtime && (log || json)) {
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    snprintf(stamp, sizeof stamp, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
             parts.tm_hour, parts.tm_min, parts.tm_sec, now.tv_nsec / 1000000);
    const char *sentence = LAST_MESSAGE ": ";
    const int size = json
      ? snprintf(line, sizeof line, "{\"level\":\"error\",\"msg\":\"%s%s (hint: " LAST_HINT "; OUT_OF_MEMORY)\",\"time\":\"%s\",%s}\n", sentence, kernel, stamp, object)
      : snprintf(line, sizeof line, "time=\"%s\" level=error msg=\"%s%s (hint: " LAST_HINT "; OUT_OF_MEMORY)\"\n", stamp, sentence, kernel);
    const int fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : 2;
    if (fd >= 0 && write(fd, line, size) == size && !log) _exit(code);
    dprintf(2, "error: " LAST_MESSAGE ": %s (hint: " LAST_HINT "; OUT_OF_MEMORY)\n", kernel);
  } else if (json) dprintf(2, "{%s}\n", object);
  else dprintf(2, "error: " LAST_MESSAGE " (OUT_OF_MEMORY)\n  kernel: %s\n  hint:   " LAST_HINT "\n", kernel);
  _exit(code);
}

#endif
