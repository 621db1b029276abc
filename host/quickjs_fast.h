/*
 * Put into QuickJS by scripts/quickjs-shortcuts.ts: what it does by general calls, done at once for objects without anything
 * special and arrays without holes, for which the outcome is the same. Each function says when that is so.
 */

/* The length of an array, or -1 for what is none, or one of 2^31 and more. */
static inline int64_t fast_length(JSValueConst array) {
  if (JS_VALUE_GET_TAG(array) != JS_TAG_OBJECT) return -1;
  JSObject *p = JS_VALUE_GET_OBJ(array);
  if (p->class_id != JS_CLASS_ARRAY || JS_VALUE_GET_TAG(p->prop[0].u.value) != JS_TAG_INT) return -1;
  return JS_VALUE_GET_INT(p->prop[0].u.value);
}

/* Where the element is, of an array that has it. */
static inline JSValue *fast_element(JSValueConst array, int64_t index) {
  if (JS_VALUE_GET_TAG(array) != JS_TAG_OBJECT) return NULL;
  JSObject *p = JS_VALUE_GET_OBJ(array);
  return p->class_id == JS_CLASS_ARRAY && p->fast_array && (uint64_t)index < p->u.array.count ? &p->u.array.u.values[index] : NULL;
}

/* Whether an ordinary element defined at this index is the one behind the last. */
static inline BOOL is_next_element(JSValueConst array, JSValueConst index, int flags) {
  if (JS_VALUE_GET_TAG(array) != JS_TAG_OBJECT || JS_VALUE_GET_TAG(index) != JS_TAG_INT) return FALSE;
  JSObject *p = JS_VALUE_GET_OBJ(array);
  return p->class_id == JS_CLASS_ARRAY && p->fast_array && p->extensible && (uint32_t)JS_VALUE_GET_INT(index) == p->u.array.count &&
    (flags & ~JS_PROP_THROW) == JS_PROP_C_W_E;
}

/* A property that is found on the way to the last prototype and is a value. *found says whether that was the way. */
static inline JSValue fast_get(JSContext *ctx, JSValueConst object, JSAtom atom, BOOL *found) {
  *found = FALSE;
  if (JS_VALUE_GET_TAG(object) != JS_TAG_OBJECT) return JS_UNDEFINED;
  for (JSObject *p = JS_VALUE_GET_OBJ(object); p; p = p->shape->proto) {
    JSProperty *property;
    JSShapeProperty *shape = find_own_property(&property, p, atom);
    if (shape) {
      if (shape->flags & JS_PROP_TMASK) return JS_UNDEFINED;
      *found = TRUE;
      return JS_DupValue(ctx, property->u.value);
    }
    /* Of what is exotic arrays have only their elements, which no name in a program is. */
    if (p->is_exotic && (p->class_id != JS_CLASS_ARRAY || __JS_AtomIsTaggedInt(atom))) return JS_UNDEFINED;
  }
  *found = TRUE;
  return JS_UNDEFINED;
}

/* A field of a literal that has none of this name: takes the value, and *result is as JS_DefinePropertyValue's. */
static inline BOOL fast_add_field(JSContext *ctx, JSValueConst literal, JSAtom atom, JSValue value, int *result) {
  if (JS_VALUE_GET_TAG(literal) != JS_TAG_OBJECT) return FALSE;
  JSObject *p = JS_VALUE_GET_OBJ(literal);
  if (p->class_id != JS_CLASS_OBJECT || !p->extensible || find_own_property1(p, atom)) return FALSE;
  JSProperty *property = add_property(ctx, p, atom, JS_PROP_C_W_E);
  *result = property ? TRUE : -1;
  if (property) property->u.value = value;
  else JS_FreeValue(ctx, value);
  return TRUE;
}

/* `length` and `name` of a function that has no property yet. */
static BOOL fast_function_properties(JSContext *ctx, JSValueConst function, JSAtom name, int length) {
  JSObject *p = JS_VALUE_GET_OBJ(function);
  if (p->shape->prop_count) return FALSE;
  JSProperty *property = add_property(ctx, p, JS_ATOM_length, JS_PROP_CONFIGURABLE);
  if (!property) return TRUE;
  property->u.value = JS_NewInt32(ctx, length);
  property = add_property(ctx, p, JS_ATOM_name, JS_PROP_CONFIGURABLE);
  if (property) property->u.value = JS_AtomToString(ctx, name);
  return TRUE;
}

/*
 * `{ ...source }` where all properties of source are values, and none is private. 1: done, 0: not such a source,
 * -1: exception. A target without properties becomes one of the source's shape.
 */
static int fast_copy(JSContext *ctx, JSValueConst target, JSObject *source) {
  JSShape *shape = source->shape;
  if (source->class_id != JS_CLASS_OBJECT || source->is_exotic || JS_VALUE_GET_TAG(target) != JS_TAG_OBJECT) return 0;
  BOOL whole = shape->is_hashed;
  JSShapeProperty *property = get_shape_prop(shape);
  for (uint32_t i = 0; i < shape->prop_count; i++) {
    if (property[i].atom == JS_ATOM_NULL || property[i].flags != JS_PROP_C_W_E) whole = FALSE;
    if (property[i].atom == JS_ATOM_NULL) continue;
    if (property[i].flags & JS_PROP_TMASK || JS_AtomGetKind(ctx, property[i].atom) == JS_ATOM_KIND_PRIVATE) return 0;
  }
  JSObject *p = JS_VALUE_GET_OBJ(target);
  if (p->class_id != JS_CLASS_OBJECT || !p->extensible || p == source) return 0;
  if (whole && p->shape->prop_count == 0 && p->shape->is_hashed && p->shape->proto == shape->proto) {
    JSProperty *properties = js_realloc(ctx, p->prop, sizeof(p->prop[0]) * shape->prop_size);
    if (!properties) return -1;
    p->prop = properties;
    for (uint32_t i = 0; i < shape->prop_count; i++) properties[i].u.value = JS_DupValue(ctx, source->prop[i].u.value);
    JSShape *empty = p->shape;
    p->shape = js_dup_shape(shape);
    js_free_shape(ctx->rt, empty);
    return 1;
  }
  for (uint32_t i = 0; i < shape->prop_count; i++) {
    if (property[i].atom == JS_ATOM_NULL || !(property[i].flags & JS_PROP_ENUMERABLE)) continue;
    JSProperty *there;
    JSShapeProperty *own = find_own_property(&there, p, property[i].atom);
    JSValue value = JS_DupValue(ctx, source->prop[i].u.value);
    if (!own) {
      if (!(there = add_property(ctx, p, property[i].atom, JS_PROP_C_W_E))) { JS_FreeValue(ctx, value); return -1; }
      there->u.value = value;
    } else if (own->flags == JS_PROP_C_W_E) set_value(ctx, &there->u.value, value);
    else if (JS_DefinePropertyValue(ctx, target, property[i].atom, value, JS_PROP_C_W_E) < 0) return -1;
  }
  return 1;
}

