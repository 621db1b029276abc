/**
 * `tupper ns [PID]`: the namespaces of the machine as a tree, or those of one process.
 *
 * `--format json`, with null for what cannot be seen:
 *
 *     { "namespaces": [{ "type": "pid", "inode": 4026532201, "userNamespace": 4026531837, "parent": 4026531836,
 *                        "ownerUid": null, "processes": 2, "members": [{ "pid": 41, "command": "sleep 9" }],
 *                        "file": null }],
 *       "hiddenProcesses": 0 }
 *
 * With PID there are also `pid` and `command`, and in each namespace `differsFromCaller` and `differsFromInit`.
 */
import { Argument, Command, InvalidArgumentError, Option } from "commander";
import {
  arrangeNamespaces,
  listNamespaces,
  listNamespacesOf,
  type Namespace,
  type NamespaceNode,
  NS_TYPES,
  type NsType,
  type ProcessNamespaces,
} from "../engine/namespaces/tree.ts";
import { printable, printableJson } from "../printable.ts";
import { shorten } from "./table.ts";
import { type Colors, colorsOf, writeOut } from "./terminal.ts";

interface NsOptions {
  type?: NsType[];
  format: "text" | "json";
}

function parsePid(text: string): number {
  if (!/^[1-9][0-9]{0,9}$/.test(text)) throw new InvalidArgumentError("a process number is wanted, such as 1");
  return Number(text);
}

/** The runtime-spec's names for what /proc calls otherwise. */
const SPEC_NAMES: Readonly<Record<string, NsType>> = { mount: "mnt", network: "net" };

function parseTypes(text: string): NsType[] {
  return text.split(",").map((name) => {
    const type = NS_TYPES.find((known) => known === (SPEC_NAMES[name] ?? name));
    if (type === undefined) throw new InvalidArgumentError(`types are: ${NS_TYPES.join(", ")}`);
    return type;
  });
}

export const nsCommand = new Command("ns")
  .summary("show the machine's namespaces as a tree")
  .description(
    "Shows every namespace that can be seen from here, below the user namespace that owns it: type, inode, number of " +
      "processes, owner and first members. With PID, the namespaces of that process. namespaces(7), ioctl_ns(2).",
  )
  .addArgument(new Argument("[PID]", "a process").argParser(parsePid))
  .addOption(new Option("--type <TYPE>", `only these, comma-separated: ${NS_TYPES.join(", ")}`).argParser(parseTypes))
  .addOption(new Option("--format <FORMAT>", "how to print").choices(["text", "json"]).default("text"))
  .action((pid: number | undefined, { type, format }: NsOptions) => {
    const wanted = (namespace: Namespace) => type === undefined || type.includes(namespace.type);
    const found = pid === undefined ? listNamespaces() : listNamespacesOf(pid);
    const shown = { ...found, namespaces: found.namespaces.filter(wanted) };
    if (format === "json") writeOut(`${printableJson(JSON.stringify(shown, undefinedAsNull, 2))}\n`);
    else writeOut(`${renderText(shown, colorsOf(1))}\n`);
  });

const undefinedAsNull = (_key: string, value: unknown): unknown => (value === undefined ? null : value);

type Found = ReturnType<typeof listNamespaces> | ProcessNamespaces;

/** What people read. Pure. */
export function renderText(found: Found, colors: Colors): string {
  const lines = "pid" in found ? renderProcess(found, colors) : renderTree(found.namespaces, colors);
  const { hiddenProcesses } = found;
  if (hiddenProcesses > 0) {
    const processes = hiddenProcesses === 1 ? "1 process" : `${hiddenProcesses} processes`;
    lines.push("", colors.yellow(`${processes} could not be looked into: permission denied`));
  }
  return lines.join("\n");
}

function renderTree(namespaces: readonly Namespace[], colors: Colors): string[] {
  const rows: { tree: string; namespace: Namespace }[] = [];
  const walk = ({ namespace, children }: NamespaceNode, lead: string, branch: string, below: string): void => {
    rows.push({ tree: `${lead}${branch}`, namespace });
    for (const [i, child] of children.entries()) {
      const last = i === children.length - 1;
      walk(child, lead + below, last ? "└─ " : "├─ ", last ? "   " : "│  ");
    }
  };
  for (const root of arrangeNamespaces(namespaces)) walk(root, "", "", "");
  const cells = rows.map(({ tree, namespace }) => [
    `${tree}${namespace.type} ${namespace.inode}`,
    String(namespace.processes),
    namespace.type === "user" ? `${namespace.ownerUid ?? "?"}` : "",
    members(namespace),
  ]);
  const tree = (cell: string) =>
    cell.replace(/^([^a-z]*)([a-z]+)/, (_, lines: string, type: string) => colors.dim(lines) + colors.bold(type));
  return table(["NAMESPACE", "PROCESSES", "OWNER", "MEMBERS"], cells, { 0: tree }, colors);
}

function renderProcess({ pid, command, namespaces }: ProcessNamespaces, colors: Colors): string[] {
  const mark = (differs: boolean | undefined) => (differs === undefined ? "?" : differs ? "another" : "the same");
  const rows = namespaces.map((namespace) => [
    namespace.type,
    String(namespace.inode),
    `${namespace.userNamespace ?? "?"}`,
    String(namespace.processes),
    mark(namespace.differsFromInit),
    mark(namespace.differsFromCaller),
  ]);
  const another = (cell: string) => (cell.startsWith("another") ? colors.cyan(cell) : cell);
  const head = ["TYPE", "INODE", "USER NAMESPACE", "PROCESSES", "AS PROCESS 1", "AS THE CALLER"];
  const styles = { 0: colors.bold, 4: another, 5: another };
  return [`process ${pid}: ${shortCommand(command)}`, "", ...table(head, rows, styles, colors)];
}

type Style = (cell: string) => string;

/** Aligned columns, the last one not padded. Styles come after the alignment, since they add bytes nobody sees. */
function table(head: string[], rows: string[][], styles: Record<number, Style>, colors: Colors): string[] {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const pad = (cell: string, column: number) => (column === head.length - 1 ? cell : cell.padEnd(widths[column] ?? 0));
  const styled = (cell: string, column: number) => styles[column]?.(pad(cell, column)) ?? pad(cell, column);
  return [colors.dim(head.map(pad).join("  ")), ...rows.map((row) => row.map(styled).join("  ").trimEnd())];
}

function members({ members: shown, processes, file }: Namespace): string {
  const names = shown.map(({ pid, command }) => `${pid} ${shortCommand(command)}`);
  if (processes > shown.length && shown.length > 0) names.push("…");
  if (file !== undefined) names.push(printable(file));
  return names.join(", ");
}

/** A command line in one short piece; its first word without the directories. */
function shortCommand(command: string): string {
  const [program = "", ...rest] = printable(command).split(" ");
  return shorten([program.replace(/^\/.*\/(?=.)/, ""), ...rest].join(" "), 32);
}
