// A small WebAssembly emitter: functions are built by calling methods in stack order and encoded to a module that
// imports one memory. Not an optimiser: V8 and the others do that. Reference: WebAssembly core specification, ch. 5.

import { lane, laneMemory, memory, plain, shuffleCode, v128ConstCode } from './opcodes.ts';
import type { LaneMemoryOp, LaneOp, MemoryOp, Plain } from './opcodes.ts';

export type ValueType = 'i32' | 'f32' | 'v128';
const typeCode: Readonly<Record<ValueType, number>> = { i32: 0x7f, f32: 0x7d, v128: 0x7b };

/** A local variable of the function being built. */
export interface Local {
  readonly index: number;
  readonly type: ValueType;
}

/** A tuple of N. */
type Locals<N extends number, T extends readonly Local[] = readonly []> = T['length'] extends N
  ? T
  : Locals<N, readonly [...T, Local]>;

function unsigned(value: number): number[] {
  const out: number[] = [];
  let v = value;
  do {
    const byte = v % 128;
    v = Math.floor(v / 128);
    out.push(v > 0 ? byte | 128 : byte);
  } while (v > 0);
  return out;
}

function signed(value: number): number[] {
  const out: number[] = [];
  let v = value | 0;
  for (;;) {
    const byte = v & 127;
    v >>= 7;
    if ((v === 0 && (byte & 64) === 0) || (v === -1 && (byte & 64) !== 0)) return [...out, byte];
    out.push(byte | 128);
  }
}

const vector = (items: readonly (readonly number[])[]): number[] => [
  ...unsigned(items.length),
  ...items.flat(),
];
const section = (id: number, content: readonly number[]): number[] => [
  id,
  ...unsigned(content.length),
  ...content,
];
const name = (text: string): number[] => {
  const bytes = [...new TextEncoder().encode(text)];
  return [...unsigned(bytes.length), ...bytes];
};

/** Builds one function. Methods push instructions; the order is that of a stack machine. */
export class FunctionBuilder {
  readonly params: readonly Local[];
  readonly #types: ValueType[];
  readonly #paramCount: number;
  readonly #code: number[] = [];
  #depth = 0;

  constructor(params: readonly ValueType[]) {
    this.#types = [...params];
    this.#paramCount = params.length;
    this.params = params.map((type, index) => ({ index, type }));
  }

  local(type: ValueType): Local {
    this.#types.push(type);
    return { index: this.#types.length - 1, type };
  }

  /** `count` of them: `const [a, b] = f.locals('i32', 2)`. */
  locals<N extends number>(type: ValueType, count: N): Locals<N> {
    return Array.from({ length: count }, () => this.local(type)) as Locals<N>;
  }

  get(v: Local): this {
    return this.#emit(0x20, ...unsigned(v.index));
  }
  set(v: Local): this {
    return this.#emit(0x21, ...unsigned(v.index));
  }
  tee(v: Local): this {
    return this.#emit(0x22, ...unsigned(v.index));
  }
  i32(value: number): this {
    return this.#emit(0x41, ...signed(value));
  }
  f32(value: number): this {
    return this.#emit(0x43, ...new Uint8Array(new Float32Array([value]).buffer));
  }
  /** All four lanes of a float vector. */
  f32x4(value: number): this {
    const bytes = new Uint8Array(new Float32Array([value, value, value, value]).buffer);
    return this.#emit(...v128ConstCode, ...bytes);
  }
  i32x4(value: number): this {
    const bytes = new Uint8Array(new Int32Array([value, value, value, value]).buffer);
    return this.#emit(...v128ConstCode, ...bytes);
  }
  op(op: Plain): this {
    return this.#emit(...plain[op]);
  }
  /** Load or store at [address on the stack] + offset. */
  mem(op: MemoryOp, offset = 0): this {
    const [code, align] = memory[op];
    return this.#emit(...code, align, ...unsigned(offset));
  }
  laneMem(op: LaneMemoryOp, laneIndex: number, offset = 0): this {
    const [code, align] = laneMemory[op];
    return this.#emit(...code, align, ...unsigned(offset), laneIndex);
  }
  lane(op: LaneOp, index: number): this {
    return this.#emit(...lane[op], index);
  }
  /** 32-bit lanes a[0..3], b[0..3] as 0..7. */
  shuffle32(...lanes: readonly [number, number, number, number]): this {
    return this.#emit(...shuffleCode, ...lanes.flatMap((l) => [4 * l, 4 * l + 1, 4 * l + 2, 4 * l + 3]));
  }
  call(index: number): this {
    return this.#emit(0x10, ...unsigned(index));
  }
  /** memory.fill: destination, byte value, count are on the stack. */
  fill(): this {
    return this.#emit(0xfc, 0x0b, 0);
  }
  /** memory.copy: destination, source, count are on the stack. */
  copy(): this {
    return this.#emit(0xfc, 0x0a, 0, 0);
  }

  /** Runs `then` when the i32 on the stack is not 0, else `otherwise`. */
  if(then: () => void, otherwise?: () => void): this {
    this.#emit(0x04, 0x40);
    this.#depth++;
    then();
    if (otherwise) {
      this.#emit(0x05);
      otherwise();
    }
    this.#depth--;
    return this.#emit(0x0b);
  }

  /** Repeats `body` while the i32 left by `condition` is not 0; tested before each turn. */
  while(condition: () => void, body: () => void): this {
    this.#emit(0x02, 0x40, 0x03, 0x40);
    this.#depth += 2;
    condition();
    this.#emit(0x45, 0x0d, 1); // leave when zero
    body();
    this.#emit(0x0c, 0);
    this.#depth -= 2;
    return this.#emit(0x0b, 0x0b);
  }

  /** for (i = i; i < end; i += step): `i` must be set before; bounds are unsigned. */
  for(i: Local, end: Local | number, step: number, body: () => void): this {
    const push = (): this => (typeof end === 'number' ? this.i32(end) : this.get(end));
    return this.while(
      () => void (this.get(i), push().op('i32.lt_u')),
      () => {
        body();
        this.get(i).i32(step).op('i32.add').set(i);
      },
    );
  }

  /** variable += bytes */
  bump(v: Local, by: Local | number): this {
    this.get(v);
    if (typeof by === 'number') this.i32(by);
    else this.get(by);
    return this.op('i32.add').set(v);
  }

  #emit(...bytes: readonly number[]): this {
    for (const b of bytes) this.#code.push(b);
    return this;
  }

  /** The code-section entry. */
  encode(): number[] {
    const locals = this.#types.slice(this.#paramCount).map((t) => [1, typeCode[t]]);
    const body = [...vector(locals), ...this.#code, 0x0b];
    return [...unsigned(body.length), ...body];
  }

  get signature(): readonly ValueType[] {
    return this.params.map((p) => p.type);
  }
}

/** A module of functions without results over one imported memory. */
export class ModuleBuilder {
  readonly #functions: { readonly builder: FunctionBuilder; readonly exported: string | undefined }[] = [];

  /** Adds a function; its index (for `call`) is returned with the builder. `exported` names it outside. */
  add(params: readonly ValueType[], build: (f: FunctionBuilder) => void, exported?: string): number {
    const builder = new FunctionBuilder(params);
    build(builder);
    this.#functions.push({ builder, exported });
    return this.#functions.length - 1;
  }

  /** `shared`: the memory is a shared one (threads). */
  encode(shared: boolean): Uint8Array<ArrayBuffer> {
    const types = this.#functions.map(({ builder }) => [
      0x60,
      ...vector(builder.signature.map((t) => [typeCode[t]])),
      0,
    ]);
    const limits = shared ? [0x03, 1, ...unsigned(65536)] : [0x00, 1];
    const imports = [[...name('env'), ...name('memory'), 0x02, ...limits]];
    const exports = this.#functions.flatMap(({ exported }, i) =>
      exported ? [[...name(exported), 0, ...unsigned(i)]] : [],
    );
    return Uint8Array.from([
      ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, vector(types)),
      ...section(2, vector(imports)),
      ...section(3, vector(this.#functions.map((_, i) => unsigned(i)))),
      ...section(7, vector(exports)),
      ...section(10, vector(this.#functions.map(({ builder }) => builder.encode()))),
    ]);
  }
}
