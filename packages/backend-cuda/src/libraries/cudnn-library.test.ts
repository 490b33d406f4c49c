// cuDNN's kernels from choice to run, with the real library but no GPU: its handle leads to a described H100, and plans
// are not built but noted. What an engine computes is not tested here.

import { describe, expect, test } from 'vitest';
import type { Choice } from '@darkroom/core/backend';
import { loadAddon } from '../node/addon.ts';
import { cudnnAttribute, CudnnDescriptor, cudnnHeuristics, cudnnKind } from '../node/cudnn.ts';
import type { Bytes, Cudnn } from '../node/native.ts';
import { CudnnLibrary } from './cudnn-library.ts';
import { cudnnIsMissing, deviceProperties, finishes, sd15Attentions, sd15Convolutions } from './cudnn-testing.ts'; // prettier-ignore

const missing = cudnnIsMissing();

interface Execution {
  readonly ids: readonly bigint[];
  readonly pointers: readonly bigint[];
  readonly workspace: number;
}

/** The addon's cuDNN with a handle, without plans. */
class NotedCudnn {
  readonly executions: Execution[] = [];
  readonly streams: number[] = [];
  handles = 0;
  /** Number of the next plans that are refused, and the error's code. */
  refused = 0;
  code = 3000;
  workspaceBytes = 4096;
  /** The heuristics that answer nothing, and those that were asked. */
  silent = -1;
  readonly modes: number[] = [];
  planned = 0;
  #plans = 0;
  readonly #kinds = new Map<number, number>();
  readonly #real: Cudnn;
  readonly #device: CudnnDescriptor;

  constructor(real: Cudnn) {
    this.#real = real;
    const json = new TextEncoder().encode(deviceProperties('sm_90'));
    this.#device = new CudnnDescriptor(real, 'deviceprop').set('devicepropJsonRepresentation', 'char', ...json).finalize(); // prettier-ignore
  }
  open = (path: string): string => path;
  version = (): number => this.#real.version();
  create = (): number => ++this.handles;
  destroy = (): void => void this.handles--;
  setStream = (_: number, stream: number): void => void this.streams.push(stream);
  get alive(): number {
    return this.#kinds.size;
  }

  descriptor = (kind: number): number => {
    const plan = kind === cudnnKind.executionPlan;
    const address = plan ? -++this.#plans : this.#real.descriptor(kind);
    this.#kinds.set(address, kind);
    return address;
  };
  descriptorDestroy = (descriptor: number): void => {
    if (!this.#kinds.delete(descriptor)) throw new Error('descriptor destroyed twice');
    if (descriptor > 0) this.#real.descriptorDestroy(descriptor);
  };
  setAttribute = (at: number, attribute: number, type: number, count: number, values: Bytes): void => {
    if (attribute === cudnnAttribute.engineheurMode) this.modes.push((values as Int32Array)[0]!);
    if (at > 0 && attribute !== cudnnAttribute.operationgraphHandle)
      this.#real.setAttribute(at, attribute, type, count, values);
  };
  getAttribute = (at: number, attribute: number, type: number, room: number, values?: Bytes): number => {
    if (at > 0) return this.#real.getAttribute(at, attribute, type, room, values);
    (values as BigInt64Array)[0] = BigInt(this.workspaceBytes);
    return 1;
  };
  finalize = (at: number): void => {
    if (at < 0) {
      this.planned++;
      const error = { library: 'libcudnn', call: 'cudnnBackendFinalize', code: this.code, text: '' };
      if (this.refused-- > 0) throw Object.assign(new Error('refused'), error);
      return;
    }
    const kind = this.#kinds.get(at);
    if (kind === cudnnKind.engineheur && this.modes.at(-1) === this.silent)
      throw Object.assign(new Error('silent'), { library: 'libcudnn', code: 3001 });
    const device = new BigUint64Array([BigInt(this.#device.address)]);
    const attribute = { [cudnnKind.engineheur]: cudnnAttribute.engineheurDeviceprop, [cudnnKind.engine]: cudnnAttribute.engineDeviceprop }[kind!]; // prettier-ignore
    if (attribute !== undefined) this.#real.setAttribute(at, attribute, 15, 1, device);
    this.#real.finalize(at);
  };
  execute = (_h: number, _p: number, ids: BigInt64Array, pointers: BigUint64Array, workspace: number): void =>
    void this.executions.push({ ids: [...ids], pointers: [...pointers], workspace });
}

describe.skipIf(missing)('CudnnLibrary', () => {
  const convolution = sd15Convolutions(finishes.residual)[1]!;
  const attention = sd15Attentions()[0]!;
  let counts = { built: 0, restored: 0, ms: 0 };
  const opened = (): { noted: NotedCudnn; library: CudnnLibrary } => {
    const noted = new NotedCudnn(loadAddon().cudnn);
    counts = { built: 0, restored: 0, ms: 0 };
    return { noted, library: new CudnnLibrary(noted, loadAddon().driver, { counts }) };
  };

  test('starts nothing before it is asked about an op that it may take, and gives all back', () => {
    const { noted, library } = opened();
    const { args } = sd15Attentions('float32')[0]!;
    expect(library.choices(attention.op, args)).toEqual([]);
    expect(library.choices({ kind: 'softmax', axis: 1 }, args)).toEqual([]);
    expect(noted.handles).toBe(0);
    const choices = library.choices(convolution.op, convolution.args);
    expect(choices.length).toBeGreaterThan(1);
    expect(noted.handles).toBe(1);
    expect(noted.alive).toBe(0);
    library.prepare(convolution.op, convolution.args, choices[0]!);
    expect(noted.alive).toBeGreaterThan(5);
    expect([counts.built, counts.restored, counts.ms > 0]).toEqual([1, 0, true]);
    library[Symbol.dispose]();
    expect([noted.handles, noted.alive]).toEqual([0, 0]);
  });

  test('runs with the addresses of the arguments by their ids, and the workspace', () => {
    const { noted, library } = opened();
    const [choice] = library.choices(convolution.op, convolution.args);
    const kernel = library.prepare(convolution.op, convolution.args, choice!)!;
    expect(kernel.scratch).toEqual([4096]);
    const addresses = [1, 2, 3, 4, 5].map((i) => i * 2 ** 33 + 16 * i); // x, weight, bias, residual, result
    expect(kernel.fits(addresses)).toBe(true);
    expect(kernel.fits(addresses.with(2, 8))).toBe(false);
    expect(kernel.run([...addresses, 65536], [], 9)).toBe(1);
    kernel.run([...addresses.with(0, 32), 65536], [], 9);
    kernel.run([...addresses, 65536], [], 8);
    expect(noted.streams).toEqual([9, 8]);
    const [first, second] = noted.executions;
    expect([...first!.pointers].sort()).toEqual(addresses.map(BigInt).sort());
    expect(first!.workspace).toBe(65536);
    const moved = first!.ids.filter((_, i) => first!.pointers[i] !== second!.pointers[i]);
    expect(moved).toEqual([first!.ids[first!.pointers.indexOf(BigInt(addresses[0]!))]]);
    library[Symbol.dispose]();
  });

  test('gives a scale by value: its pointer leads to the number', () => {
    const noted = new NotedCudnn(loadAddon().cudnn);
    const { driver } = loadAddon();
    const given: { readonly bytes: Bytes; readonly at: bigint }[] = [];
    const hostAddress = (bytes: Bytes): number => {
      const at = driver.hostAddress(bytes);
      given.push({ bytes, at: BigInt(at) });
      return at;
    };
    const library = new CudnnLibrary(noted, { hostAddress });
    const [choice] = library.choices(attention.op, attention.args);
    library.prepare(attention.op, attention.args, choice!)!.run([16, 32, 48, 64, 80], [], 1);
    expect(given.map(({ bytes }) => [...(bytes as Float32Array)])).toEqual([[Math.fround(40 ** -0.5)]]);
    expect(noted.executions[0]!.pointers).toEqual([16n, 32n, 48n, 64n, given[0]!.at]);
    expect(noted.executions[0]!.ids).toEqual([1n, 2n, 3n, 4n, 5n]);
    library[Symbol.dispose]();
  });

  test('asks the fallback heuristics where the better ones have no answer', () => {
    const { noted, library } = opened();
    expect(library.choices(convolution.op, convolution.args).length).toBeGreaterThan(0);
    expect(noted.modes).toEqual([cudnnHeuristics.a]);
    noted.silent = cudnnHeuristics.a;
    expect(library.choices(convolution.op, convolution.args).length).toBeGreaterThan(0);
    expect(noted.modes).toEqual([cudnnHeuristics.a, cudnnHeuristics.a, cudnnHeuristics.fallback]);
    library[Symbol.dispose]();
  });

  test('the first choice goes on where an engine cannot be built; the others, and other errors, do not', () => {
    const { noted, library } = opened();
    const { op, args } = convolution;
    const [first, second] = library.choices(op, args) as [Choice, Choice];
    const tried = (choice: Choice, refused: number): readonly [boolean, number] => {
      noted.refused = refused;
      noted.planned = 0;
      const alive = noted.alive;
      const kernel = library.prepare(op, args, choice);
      if (!kernel) expect(noted.alive).toBe(alive);
      return [kernel !== undefined, noted.planned];
    };
    expect(tried(first, 0)).toEqual([true, 1]);
    expect(tried(first, 2)).toEqual([true, 3]);
    expect(tried(second, 1)).toEqual([false, 1]);
    expect(tried(first, 1000)[0]).toBe(false);
    noted.workspaceBytes = 2 ** 30;
    expect(tried(second, 0)).toEqual([false, 1]);
    noted.code = 2000;
    expect(() => tried(first, 1)).toThrow('refused');
    noted.refused = 0;
    for (const params of [
      undefined,
      'x',
      { engine: 1 },
      { engine: '1', knobs: [] },
      { engine: 1, knobs: [[1]] },
    ])
      expect(
        library.prepare(op, args, { id: 'cudnn', ...(params !== undefined && { params }) }),
      ).toBeUndefined();
    library[Symbol.dispose]();
  });
});
