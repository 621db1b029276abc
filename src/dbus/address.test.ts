import assert from "node:assert/strict";
import { test } from "node:test";
import { socketsOf } from "./address.ts";

test("socketsOf: unix sockets by path or abstract name, escapes undone, other transports left out", () => {
  for (const [address, sockets] of [
    ["unix:path=/run/user/1000/bus", ["/run/user/1000/bus"]],
    ["unix:guid=0123,path=/run/a%20b", ["/run/a b"]],
    ["tcp:host=localhost,port=1;unix:abstract=/tmp/dbus-X,guid=1", ["\0/tmp/dbus-X"]],
    ["unix:path=/a=b;unix:path=/c", ["/a=b", "/c"]],
    ["", []],
  ] as const)
    assert.deepEqual(socketsOf(address), sockets);
});
