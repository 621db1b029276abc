/** Where a bus listens: `unix:path=/run/user/1000/bus,guid=…;…`. D-Bus Specification, "Server Addresses". */

/** The sockets that an address names, in order; a name that begins with NUL is an abstract one. What is no unix socket is left out. */
export function socketsOf(address: string): string[] {
  return address.split(";").flatMap((each) => {
    if (!each.startsWith("unix:")) return [];
    return each
      .slice("unix:".length)
      .split(",")
      .flatMap((pair) => {
        const [key, value = ""] = pair.split(/=(.*)/s);
        const text = value.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
          String.fromCharCode(Number.parseInt(hex, 16)),
        );
        return key === "path" ? [text] : key === "abstract" ? [`\0${text}`] : [];
      });
  });
}
