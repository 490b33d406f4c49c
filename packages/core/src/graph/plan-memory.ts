// Places of a plan's values in memory. A value lives from the launch that writes it to the last that reads it; values
// that live at the same launch never share memory. One arena with offsets, or, where a backend validates whole buffers,
// several buffers.

/** The first and the last launch at which a value lives, both included, and its bytes. */
export interface Lifetime {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

/** The place of a value: a buffer and an offset. */
export interface Place {
  readonly buffer: number;
  /** Bytes into the buffer. */
  readonly offset: number;
}

/** Buffers, and the place of each value in them. */
export interface Placement {
  /** Bytes of each buffer. */
  readonly buffers: readonly number[];
  /** Places in the order of the given values. */
  readonly places: readonly Place[];
}

/** Bytes; satisfies every kernel of every backend. */
export const alignment = 256;

const aligned = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;
const meet = (a: Lifetime, b: Lifetime): boolean => a.first <= b.last && b.first <= a.last;

/** Largest first: small values fit into what large ones leave. */
function bySize(values: readonly Lifetime[]): number[] {
  return values.map((_, i) => i).sort((a, b) => values[b]!.bytes - values[a]!.bytes || a - b);
}

/** Places for values of these lifetimes. `suballocate`: one arena with offsets, else whole buffers. */
export function planMemory(values: readonly Lifetime[], options: { suballocate: boolean }): Placement {
  return options.suballocate ? planArena(values) : planBuffers(values);
}

/** Each value at the lowest offset where nothing that lives at the same time lies. */
function planArena(values: readonly Lifetime[]): Placement {
  const offsets = new Array<number>(values.length).fill(0);
  const placed: number[] = [];
  let arena = 0;
  for (const i of bySize(values)) {
    const value = values[i]!;
    const others = placed.filter((j) => meet(value, values[j]!)).sort((a, b) => offsets[a]! - offsets[b]!);
    let at = 0;
    for (const j of others) {
      if (offsets[j]! - at >= aligned(value.bytes)) break;
      at = Math.max(at, offsets[j]! + aligned(values[j]!.bytes));
    }
    offsets[i] = at;
    placed.push(i);
    arena = Math.max(arena, at + aligned(value.bytes));
  }
  return { buffers: arena > 0 ? [arena] : [], places: offsets.map((offset) => ({ buffer: 0, offset })) };
}

/** Each value in the first buffer whose values all live at other times; a buffer is as large as its first value. */
function planBuffers(values: readonly Lifetime[]): Placement {
  const buffers: { bytes: number; members: Lifetime[] }[] = [];
  const places = new Array<Place>(values.length);
  for (const i of bySize(values)) {
    const value = values[i]!;
    let at = buffers.findIndex((b) => !b.members.some((m) => meet(value, m)));
    if (at < 0) at = buffers.push({ bytes: aligned(value.bytes), members: [] }) - 1;
    buffers[at]!.members.push(value);
    places[i] = { buffer: at, offset: 0 };
  }
  return { buffers: buffers.map((b) => b.bytes), places };
}

/** The most bytes that live at one launch: the lower bound of a plan's memory. */
export function maxLiveBytes(values: readonly Lifetime[]): number {
  let most = 0;
  for (const { first } of values) {
    const live = values.filter((v) => v.first <= first && first <= v.last);
    most = Math.max(
      most,
      live.reduce((n, v) => n + v.bytes, 0),
    );
  }
  return most;
}
