/*
 * QuickJS, unchanged, and one thing more that its interface does not have: the innermost frame of the JavaScript
 * stack. Processes that share the heap (spawn in native.h) each have a stack of their own, so the frame is exchanged
 * together with the turn; else a stack trace of one would walk through frames of the other that are gone.
 */
#include "quickjs.c"

void *host_stack_frame(JSRuntime *rt) { return rt->current_stack_frame; }
void host_set_stack_frame(JSRuntime *rt, void *frame) { rt->current_stack_frame = frame; }
