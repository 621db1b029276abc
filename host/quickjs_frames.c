/*
 * QuickJS (scripts/quickjs-source.ts), and what its interface does not have: the innermost frame of the JavaScript
 * stack, and, for the training build, what any new object changes. Processes that share the heap (spawn in native.h) each have a stack of their own, so the frame is exchanged
 * together with the turn; else a stack trace of one would walk through frames of the other that are gone.
 *
 * QUICKJS_SOURCE: in the build for the sanitizers, a copy that tells of each jump (coveredQuickjs in scripts/quickjs-source.ts).
 */
#ifndef QUICKJS_SOURCE
#define QUICKJS_SOURCE "quickjs.c"
#endif
#include QUICKJS_SOURCE

uintptr_t js_frozen_end; /* scripts/quickjs-source.ts */

void *host_stack_frame(JSRuntime *rt) { return rt->current_stack_frame; }
void host_set_stack_frame(JSRuntime *rt, void *frame) { rt->current_stack_frame = frame; }
/* And the last object of the list of all, which the next one is linked to. */
void host_tables(JSRuntime *rt, void *tables[4]) {
  tables[0] = rt->atom_array;
  tables[1] = rt->atom_hash;
  tables[2] = rt->shape_hash;
  tables[3] = list_entry(rt->gc_obj_list.prev, JSGCObjectHeader, link);
}

/*
 * Names and shapes with the same hash are found by walking a chain. What commands need has lower addresses than what
 * they do not (pool.h), so in the order of addresses they find it before they would touch the rest.
 */
void host_order_chains(JSRuntime *rt) {
  for (int i = 0; i < rt->atom_hash_size; i++)
    for (uint32_t *rest = &rt->atom_hash[i]; *rest; rest = &rt->atom_array[*rest]->hash_next) {
      uint32_t *lowest = rest;
      for (uint32_t *at = rest; *at; at = &rt->atom_array[*at]->hash_next)
        if (rt->atom_array[*at] < rt->atom_array[*lowest]) lowest = at;
      uint32_t taken = *lowest;
      *lowest = rt->atom_array[taken]->hash_next;
      rt->atom_array[taken]->hash_next = *rest;
      *rest = taken;
    }
  for (int i = 0; i < rt->shape_hash_size; i++)
    for (JSShape **rest = &rt->shape_hash[i]; *rest; rest = &(*rest)->shape_hash_next) {
      JSShape **lowest = rest;
      for (JSShape **at = rest; *at; at = &(*at)->shape_hash_next)
        if (*at < *lowest) lowest = at;
      JSShape *taken = *lowest;
      *lowest = taken->shape_hash_next;
      taken->shape_hash_next = *rest;
      *rest = taken;
    }
}
