/** Kinds of flags that several commands have. */
import { type Command, Option } from "commander";

/** A flag that may be given several times; its value is the list. */
export function repeatable(flags: string, description: string): Option {
  return new Option(flags, description).argParser<string[]>((value, previous = []) => [...previous, value]);
}

/** A flag without a value. docker also takes `--flag=true` and `--flag=false`, so hidden flags of those names do. */
export function addSwitch(command: Command, flags: string, description: string): void {
  const option = new Option(flags, description);
  command.addOption(option);
  if (option.negate) return;
  for (const value of [true, false]) command.addOption(new FixedValue(`${option.long}=${value}`, option, value));
}

/** A hidden flag that sets another flag's value. */
export class FixedValue extends Option {
  readonly #attribute: string;

  constructor(flags: string, other: Option, value: unknown) {
    super(flags);
    this.#attribute = other.attributeName();
    this.hideHelp().argParser(() => value);
  }

  override attributeName(): string {
    return this.#attribute;
  }
}

/** `--format`: words for people, or JSON for programs. */
export const formatOption = (): Option =>
  new Option("--format <FORMAT>", "how to print").choices(["table", "json"]).default("table");
