/**
 * The rarely used part of the heap, compressed: blocks of 16 KiB, each for itself, so that the host (host/cold.h) brings
 * in only what a command touches. Compressed by lz4(1), out of whose frames the blocks are taken ("LZ4 Frame Format").
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";

/** As in host/cold.h. */
const BLOCK_BYTES = 16 << 10;
/** Magic; version 1, blocks independent, no checksums, no size; blocks of at most 64 KiB; the checksum of these two. */
const HEADER = Buffer.from("04224d18604082", "hex");
const [SIZE_BYTES, END_BYTES] = [4, 4];

/** What the host includes: the number of blocks, where each ends, and the blocks. */
export function compress(heap: Buffer): Buffer {
  const blocks: Buffer[] = [];
  for (let at = 0; at < heap.length; at += BLOCK_BYTES) blocks.push(compressBlock(heap.subarray(at, at + BLOCK_BYTES)));
  let end = 0;
  const ends = blocks.map(({ length }) => {
    end += length;
    return end;
  });
  return Buffer.concat([Buffer.from(Uint32Array.of(blocks.length, ...ends).buffer), ...blocks]);
}

function compressBlock(block: Buffer): Buffer {
  const frame = execFileSync("lz4", ["-q", "-12", "--no-frame-crc", "-B4", "-BI", "-c"], { input: block });
  const start = HEADER.length + SIZE_BYTES;
  const size = frame.length - start - END_BYTES;
  if (!frame.subarray(0, HEADER.length).equals(HEADER) || frame.readUInt32LE(HEADER.length) !== size)
    throw new Error(`lz4 made a frame of another kind: ${frame.toString("hex", 0, start)}`); // or did not compress it
  return frame.subarray(start, start + size);
}

/** A file of no blocks, for a host whose heap has no such part. */
export function writeNoBlocks(path: string): void {
  writeFileSync(path, Buffer.alloc(4));
}
