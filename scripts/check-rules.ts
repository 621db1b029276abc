/**
 * The house rules that a program can check. Part of `npm run check`; prints `file:line: what is wrong` and fails.
 *
 *     tsx scripts/check-rules.ts [ROOT]
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

interface SourceFile {
  /** From the root of the repository. */
  path: string;
  lines: string[];
}

type Report = (file: SourceFile, line: number, message: string) => void;

const root = process.argv[2] ?? fileURLToPath(new URL("..", import.meta.url));
const MAX_LINES = 600;

const isTest = (path: string) => path.endsWith(".test.ts");
const isProgram = (path: string) => /^(src|host|scripts|tests|bench)\/.*\.(ts|c|h|sh)$/.test(path);
const isGenerated = (lines: readonly string[]) => /^(\/\/|\/\*\*?|#) Generated\b/.test(lines[0] ?? "");

/** A header of `// Data: …` or `/** Data: …` says that a file is a table and may be as long as its subject. */
const isData = (lines: readonly string[]) => /^(\/\/|\/\*\*) Data: /.test(lines[0] ?? "");

/** Which folder may not import which: src/plan is pure, and what runs on the host has no Node. */
const FORBIDDEN_IMPORTS: readonly { from: RegExp; to: RegExp; typesAllowed: boolean; why: string }[] = [
  {
    from: /^src\/plan\//,
    to: /^src\/(sys|execute|engine|cli)\//,
    typesAllowed: true,
    why: "src/plan is pure: it may import only types from there",
  },
  {
    from: /^src\/spec\//,
    to: /^src\/(sys|plan|execute|engine|cli)\//,
    typesAllowed: true,
    why: "src/spec is pure: it may import only types from there",
  },
  {
    from: /^src\/sys\//,
    to: /^src\/(?!sys\/)/,
    typesAllowed: false,
    why: "src/sys knows Linux and nothing of containers",
  },
];

const REGISTRY_HOSTS = new RegExp(
  // In pieces, so that this file does not break its own rule.
  [
    ["registry", "npmjs"],
    ["registry", "yarnpkg"],
    ["registry", "npmmirror"],
    ["deb", "debian"],
    ["ftp", "debian"],
    ["security", "debian"],
    ["archive", "ubuntu"],
    ["snapshot", "debian"],
    ["files", "pythonhosted"],
    ["proxy", "golang"],
  ]
    .map((labels) => `\\b${labels.join("\\.")}\\.(org|com|net)\\b`)
    .join("|"),
  "i",
);

/** A module begins by saying what it is. Tests say it with their names, generated files where they come from. */
function checkHeader(file: SourceFile, report: Report): void {
  if (!/^(src|host)\/.*\.(ts|c|h)$/.test(file.path) || isTest(file.path)) return;
  if (!/^(\/\*|\/\/)/.test(file.lines[0] ?? "")) report(file, 1, "a module begins with a comment that says what it is");
}

function checkImports(file: SourceFile, report: Report): void {
  if (!/^src\/.*\.ts$/.test(file.path) || isTest(file.path)) return;
  for (const { specifier, line, typesOnly } of importsOf(file.lines.join("\n"))) {
    if (specifier.startsWith("node:")) {
      if (!typesOnly) report(file, line, `imports ${specifier}: src/ runs on the host, which has no Node`);
      continue;
    }
    if (!specifier.startsWith(".")) continue;
    const target = normalize(join(dirname(file.path), specifier));
    for (const { from, to, typesAllowed, why } of FORBIDDEN_IMPORTS) {
      if (from.test(file.path) && to.test(target) && !(typesAllowed && typesOnly))
        report(file, line, `imports ${target}: ${why}`);
    }
  }
}

interface Import {
  specifier: string;
  line: number;
  /** Nothing of it is left at run time. */
  typesOnly: boolean;
}

/** Static and dynamic imports and re-exports. By pattern: our formatter leaves only these forms. */
function importsOf(text: string): Import[] {
  const statements = /^(?:import|export)\b([^;"'`=]*?)\bfrom\s*"([^"]+)"|^import\s*"([^"]+)"|\bimport\(\s*"([^"]+)"/gm;
  return [...text.matchAll(statements)].map((match) => {
    const [, clause = "", from, bare, dynamic] = match;
    const named = /\{([^}]*)\}/.exec(clause)?.[1]?.split(",") ?? [];
    const names = named.map((name) => name.trim()).filter((name) => name !== "");
    const onlyBraces = /^\s*\{[^}]*\}\s*$/.test(clause) && names.length > 0;
    return {
      specifier: from ?? bare ?? dynamic ?? "",
      line: text.slice(0, match.index).split("\n").length,
      typesOnly: /^\s+type\b/.test(clause) || (onlyBraces && names.every((name) => name.startsWith("type "))),
    };
  });
}

/** Packages come from where the machine's own configuration says, never from an address written here. */
function checkRegistries(file: SourceFile, report: Report): void {
  for (const [index, text] of file.lines.entries()) {
    const host = REGISTRY_HOSTS.exec(text)?.[0];
    if (host !== undefined) report(file, index + 1, `names the package registry ${host}`);
  }
}

function checkLength(file: SourceFile, report: Report): void {
  if (!isProgram(file.path) || isGenerated(file.lines) || isData(file.lines)) return;
  const count = file.lines.at(-1) === "" ? file.lines.length - 1 : file.lines.length;
  if (count > MAX_LINES) report(file, count, `is ${count} lines long; ${MAX_LINES} are the most. "Data:" marks tables`);
}

/** What git has or would add: tracked and new files, not ignored ones. */
function readSources(): SourceFile[] {
  const list = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: root });
  return list
    .toString()
    .split("\0")
    .filter((path) => path !== "" && existsSync(join(root, path)))
    .map((path) => ({ path, content: readFileSync(join(root, path)) }))
    .filter(({ content }) => !content.includes(0)) // binary
    .map(({ path, content }) => ({ path, lines: content.toString().split("\n") }));
}

const problems: string[] = [];
const report: Report = ({ path }, line, message) => problems.push(`${path}:${line}: ${message}`);
const sources = readSources();
for (const file of sources) {
  for (const check of [checkHeader, checkImports, checkRegistries, checkLength]) check(file, report);
}
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
else console.log(`check-rules: ${sources.length} files`);
