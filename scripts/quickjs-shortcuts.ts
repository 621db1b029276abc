/**
 * Where QuickJS asks host/quickjs_fast.h first. Each shortcut gives what the general way behind it gives
 * (tests/host-language.ts); what they save is in docs/performance.md.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Replacement } from "./quickjs-source.ts";

const functions = readFileSync(fileURLToPath(new URL("../host/quickjs_fast.h", import.meta.url)), "utf8");

/** `code` in front of what is there `times`. */
const before = (there: string, code: string, times = 1): Replacement => ({ from: there, to: `${code}${there}`, times });

/** `code` at the begin of a function, behind its declarations. */
const atBegin = (head: string, declarations: string, code: string): Replacement => ({
  from: `${head}\n{\n${declarations}`,
  to: `${head}\n{\n${declarations}${code}`,
  times: 1,
});

/** The length of an array, where any object's is asked for. */
const lengthAs = (type: string): Replacement =>
  atBegin(
    `${type} *pres,\n                                       JSValueConst obj)`,
    "    JSValue len_val;\n",
    `    int64_t length = fast_length(obj);
    if (length >= 0) {
        *pres = length;
        return 0;
    }
`,
  );

const ADD_FIELD = "ret = JS_DefinePropertyValue(ctx, sp[-2], atom, sp[-1],";

export const SHORTCUTS: readonly Replacement[] = [
  before("/* indicate that the object may be part of a function prototype cycle */", functions),
  lengthAs("uint32_t"),
  lengthAs("int64_t"),
  // x.length
  before(
    "                val = JS_GetProperty(ctx, sp[-1], JS_ATOM_length);",
    `                int64_t length = fast_length(sp[-1]);
                if (length >= 0) val = JS_NewInt32(ctx, length);
                else if (JS_VALUE_GET_TAG(sp[-1]) == JS_TAG_STRING) val = JS_NewInt32(ctx, JS_VALUE_GET_STRING(sp[-1])->len);
                else
`,
  ),
  // x.name, x.name()
  before(
    "                val = JS_GetProperty(ctx, sp[-1], atom);",
    `                BOOL found;
                val = fast_get(ctx, sp[-1], atom, &found);
                if (!found)
`,
    2,
  ),
  // { name: x }
  before(
    ADD_FIELD,
    `if (fast_add_field(ctx, sp[-2], atom, sp[-1], &ret)) {
                    sp--;
                    if (unlikely(ret < 0))
                        goto exception;
                    BREAK;
                }
                `,
  ),
  // An element at the end of an array: of literals, spread arrays, map, filter, concat.
  atBegin(
    "int JS_DefinePropertyValueValue(JSContext *ctx, JSValueConst this_obj,\n                                JSValue prop, JSValue val, int flags)",
    "    JSAtom atom;\n    int ret;\n",
    `    if (is_next_element(this_obj, prop, flags))
        return add_fast_array_element(ctx, JS_VALUE_GET_OBJ(this_obj), val, flags);
`,
  ),
  // An element, where one looks whether it is there: every, some, map, filter, concat.
  before(
    "    if (likely((uint64_t)idx <= JS_ATOM_MAX_INT)) {\n        /* fast path */\n        present",
    `    JSValue *element = fast_element(obj, idx);
    if (element) {
        *pval = JS_DupValue(ctx, *element);
        return TRUE;
    }
`,
  ),
  // for (const x of array)
  before(
    "    p = JS_VALUE_GET_OBJ(it->obj);\n",
    `    JSValue *element = it->kind == JS_ITERATOR_KIND_VALUE ? fast_element(it->obj, it->idx) : NULL;
    if (element) {
        it->idx++;
        *pdone = FALSE;
        return JS_DupValue(ctx, *element);
    }
`,
  ),
  // [...array]
  before(
    "    enumobj = JS_GetIterator(ctx, sp[-1], FALSE);\n    if (JS_IsException(enumobj))\n        return -1;\n    method",
    `    if (is_array_iterator && js_get_fast_array(ctx, sp[-1], &arrp, &count32) && fast_length(sp[-1]) == count32) {
        BOOL is_usual; /* asked for in a way that calls no getter, which may change the array */
        method = fast_get(ctx, ctx->class_proto[JS_CLASS_ARRAY_ITERATOR], JS_ATOM_next, &is_usual);
        is_usual = JS_IsCFunction(ctx, method, (JSCFunction *)js_array_iterator_next, 0);
        JS_FreeValue(ctx, method);
        if (is_usual) {
            for (i = 0; i < count32; i++)
                if (JS_DefinePropertyValueUint32(ctx, sp[-3], pos++, JS_DupValue(ctx, arrp[i]), JS_PROP_C_W_E) < 0)
                    return -1;
            sp[-2] = JS_NewInt32(ctx, pos);
            return 0;
        }
    }
`,
  ),
  // { ...object }
  before(
    "    gpn_flags = JS_GPN_STRING_MASK | JS_GPN_SYMBOL_MASK | JS_GPN_ENUM_ONLY;\n    if (p->is_exotic) {",
    `    if (!pexcl && !setprop && (ret = fast_copy(ctx, target, p)))
        return ret < 0 ? -1 : 0;
`,
  ),
  // A text for a system call: whether it is ASCII is asked of eight letters at once.
  {
    from: "        for (pos = 0; pos < len; pos++) {\n            count += src[pos] >> 7;",
    to: `        pos = 0;
        for (uint64_t eight; len - pos >= 8; pos += 8) {
            memcpy(&eight, src + pos, 8);
            if (eight & 0x8080808080808080) break;
        }
        for (; pos < len; pos++) {
            count += src[pos] >> 7;`,
    times: 1,
  },
  // i++, where somebody asks for what it was, or i has to be there first
  {
    from: "        CASE(OP_post_dec):\n            sf->cur_pc = pc;",
    to: `        CASE(OP_post_dec):
            if (JS_VALUE_GET_TAG(sp[-1]) == JS_TAG_INT) {
                int32_t next;
                if (!__builtin_add_overflow(JS_VALUE_GET_INT(sp[-1]), opcode == OP_post_inc ? 1 : -1, &next)) {
                    *sp++ = JS_NewInt32(ctx, next);
                    BREAK;
                }
            }
            sf->cur_pc = pc;`,
    times: 1,
  },
  // array.push(x): an array sets its length by itself, unless a setter of a prototype took the element.
  atBegin(
    "static JSValue js_array_push(JSContext *ctx, JSValueConst this_val,\n                             int argc, JSValueConst *argv, int unshift)",
    "    JSValue obj;\n    int i;\n    int64_t len, from, newLen;\n",
    `    if (!unshift && argc == 1 && (len = fast_length(this_val)) >= 0 && len < INT32_MAX) {
        JSValue length = JS_NewInt32(ctx, len + 1);
        if (JS_SetPropertyValue(ctx, this_val, JS_NewInt32(ctx, len), JS_DupValue(ctx, argv[0]), JS_PROP_THROW) < 0 ||
            (fast_length(this_val) != len + 1 && JS_SetProperty(ctx, this_val, JS_ATOM_length, length) < 0))
            return JS_EXCEPTION;
        return length;
    }
`,
  ),
  // text.includes(x), text.indexOf(x), text.split(x)
  before(
    "    if (start >= 0 && start <= stop) {\n        for (i = start;; i++) {",
    "    if (magic == 0) ret = start <= stop && string_indexof(p, p1, start) >= 0;\n    else\n",
  ),
  before(
    "    if (len >= v_len && inc * (stop - start) >= 0) {",
    "    if (!lastIndexOf) ret = start <= stop ? string_indexof(p, p1, start) : -1;\n    else\n",
  ),
  before(
    "            for (i = from; i < len; i++) {\n                if (p->u.str8[i] == (uint8_t)c)",
    `            const uint8_t *found = memchr(&p->u.str8[from], c, len - from);
            return found ? found - p->u.str8 : -1;
`,
  ),
  // A new closure
  {
    from: "static void js_function_set_properties(JSContext *ctx, JSValueConst func_obj,\n                                       JSAtom name, int len)\n{",
    to: `static BOOL fast_function_properties(JSContext *, JSValueConst, JSAtom, int);
static void js_function_set_properties(JSContext *ctx, JSValueConst func_obj,
                                       JSAtom name, int len)
{
    if (fast_function_properties(ctx, func_obj, name, len))
        return;`,
    times: 1,
  },
  // text === text
  {
    from: "res = (js_string_compare(ctx, JS_VALUE_GET_STRING(op1),\n                                         JS_VALUE_GET_STRING(op2)) == 0);",
    to: `JSString *p1 = JS_VALUE_GET_STRING(op1), *p2 = JS_VALUE_GET_STRING(op2);
                res = p1 == p2 || (p1->len == p2->len && js_string_memcmp(p1, 0, p2, 0, p1->len) == 0);`,
    times: 1,
  },
];
