/** commander looks for subcommands that are programs of their own; tupper has none. */
export default {};
