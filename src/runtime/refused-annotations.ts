/** Annotations of crun that say what executes the command, or answers its calls: nothing here does, and a container without it is another one. crun(1). */
import { ContainerError } from "../error.ts";

/** Throws ANNOTATION_UNKNOWN. */
export function refuseAnnotations(annotations: Readonly<Record<string, string>>): void {
  const { "run.oci.handler": handler = "", "run.oci.seccomp.plugins": plugins = "" } = annotations;
  // As with crun: a pod's pause program is an ordinary one whatever its containers are, and the smart handler leaves programs that are no
  // WebAssembly alone.
  const isOrdinary = handler === "wasm-smart" || annotations["io.kubernetes.cri.container-type"] === "sandbox";
  if (handler !== "" && !isOrdinary)
    throw refusal("run.oci.handler", `handler not found: ${handler}`, "the command would run as an ordinary process");
  if (plugins !== "")
    throw refusal(
      "run.oci.seccomp.plugins",
      `seccomp plugins cannot be loaded into this program: ${plugins}`,
      "a program of its own can be the agent: run.oci.seccomp.receiver",
    );
}

const refusal = (annotation: string, message: string, hint: string): ContainerError =>
  new ContainerError("ANNOTATION_UNKNOWN", message, { field: `annotations["${annotation}"]`, hint });
