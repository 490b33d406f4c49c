// For tests: what cublasLtMatmul does, from its documentation, on any memory; and a library of it on a driver's memory.

import type { DType } from '@darkroom/core';
import { dtypes } from '@darkroom/core';
import { decode, encode } from '@darkroom/core/backend';
import { cublasEpilogue, cublasType } from '../node/native.ts';
import type { CublasAlgorithm, CublasLt, CublasMatrix, CublasProblem, Driver } from '../node/native.ts';

export type Matrix = 'a' | 'b' | 'c' | 'd' | 'bias';
export interface Memory {
  read(of: Matrix, index: number): number;
  write(index: number, value: number): void;
}

/** D = alpha·op(A)·op(B) + beta·C, then the bias of D's row; sums in float64. @throws where a matrix is left. */
export function columnMajorProduct(p: CublasProblem, alpha: number, beta: number, memory: Memory): void {
  check(p);
  const k = p.transposeA ? p.a.rows : p.a.columns;
  for (let batch = 0; batch < (p.d.batch ?? 1); batch++)
    for (let row = 0; row < p.d.rows; row++)
      for (let column = 0; column < p.d.columns; column++) {
        let sum = 0;
        for (let i = 0; i < k; i++) {
          const a = p.transposeA ? indexOf(p.a, batch, i, row) : indexOf(p.a, batch, row, i);
          const b = p.transposeB ? indexOf(p.b, batch, column, i) : indexOf(p.b, batch, i, column);
          sum += memory.read('a', a) * memory.read('b', b);
        }
        // With beta 0 the library does not read C.
        const c = beta === 0 ? 0 : beta * memory.read('c', indexOf(p.c, batch, row, column));
        const biased = p.epilogue === cublasEpilogue.bias;
        const bias = biased ? memory.read('bias', batch * (p.biasBatchStride ?? 0) + row) : 0;
        memory.write(indexOf(p.d, batch, row, column), alpha * sum + c + bias);
      }
}

function indexOf(x: CublasMatrix, batch: number, row: number, column: number): number {
  if (row >= x.rows || column >= x.columns) throw new Error(`(${row}, ${column}) is outside the matrix`);
  return batch * (x.batchStride ?? 0) + column * x.leading + row;
}

/** The rules that the library would answer with an error. */
function check(p: CublasProblem): void {
  const [m, k] = p.transposeA ? [p.a.columns, p.a.rows] : [p.a.rows, p.a.columns];
  const [k2, n] = p.transposeB ? [p.b.columns, p.b.rows] : [p.b.rows, p.b.columns];
  const all = [p.a, p.b, p.c, p.d];
  const fits = k === k2 && [p.c, p.d].every((x) => x.rows === m && x.columns === n);
  const batches = new Set(all.map((x) => x.batch ?? 1)).size === 1;
  if (!fits || !batches || all.some((x) => x.leading < x.rows))
    throw new Error(`no product: ${JSON.stringify(p)}`);
  if ((p.epilogue === cublasEpilogue.bias) !== (p.biasType !== undefined))
    throw new Error('bias without type');
}

const dtypeOf = (type: number): DType =>
  (Object.keys(cublasType) as (keyof typeof cublasType)[]).find((d) => cublasType[d] === type)!;

/** A CublasLt that computes on the driver's memory, and notes its runs. Handles count up from 1. */
export class FakeCublasLt implements CublasLt {
  readonly #driver: Driver;
  readonly #problems = new Map<number, CublasProblem>();
  #next = 1;
  handles = 0;
  readonly runs: {
    readonly algorithm: number;
    readonly workspace: number;
    readonly workspaceBytes: number;
  }[] = [];
  readonly asked: {
    readonly reductions: number;
    readonly alignments: readonly number[];
    readonly most: number;
  }[] = [];
  /** Algorithms that it has: the first of 'data' of each. */
  has: readonly number[] = [7, 8, 9];

  constructor(driver: Driver) {
    this.#driver = driver;
  }
  get problems(): number {
    return this.#problems.size;
  }

  open(path: string): string {
    return path;
  }
  version(): number {
    return 130000;
  }
  create(): number {
    this.handles++;
    return this.#next++;
  }
  destroy(): void {
    this.handles--;
  }
  problem(problem: CublasProblem): number {
    check(problem);
    this.#problems.set(this.#next, problem);
    return this.#next++;
  }
  problemDestroy(problem: number): void {
    if (!this.#problems.delete(problem)) throw new Error('problem destroyed twice');
  }
  algorithms(
    _handle: number,
    _problem: number,
    workspaceBytes: number,
    reductions: number,
    alignments: readonly [number, number, number, number],
    most: number,
  ): CublasAlgorithm[] {
    this.asked.push({ reductions, alignments, most });
    return this.has.map((first) => algorithm(first, workspaceBytes));
  }
  restore(_handle: number, _problem: number, data: ArrayBuffer): CublasAlgorithm | undefined {
    const [first] = new Uint8Array(data);
    return data.byteLength === 64 && this.has.includes(first!) ? algorithm(first!, 1024) : undefined;
  }
  run(
    _handle: number,
    problem: number,
    id: number,
    alpha: number,
    beta: number,
    a: number,
    b: number,
    c: number,
    d: number,
    bias: number,
    workspace: number,
    workspaceBytes: number,
    stream: number,
  ): void {
    const p = this.#problems.get(problem)!;
    this.runs.push({ algorithm: id, workspace, workspaceBytes });
    const dtype = dtypeOf(p.d.type);
    const { bytes } = dtypes[dtype];
    const at = { a, b, c, d, bias };
    const move = (address: number, to: Uint8Array): number => {
      this.#driver.copyToHost(to, address, stream);
      this.#driver.streamSynchronize(stream);
      return decode(to, dtype)[0]!;
    };
    columnMajorProduct(p, alpha, beta, {
      read: (of, index) => move(at[of] + index * bytes, new Uint8Array(bytes)),
      write: (index, value) => this.#driver.copyToDevice(d + index * bytes, encode([value], dtype), stream),
    });
  }
}

function algorithm(first: number, workspaceBytes: number): CublasAlgorithm {
  const data = new Uint8Array(64).fill(first);
  return { id: first, workspaceBytes, waves: 1, data: data.buffer };
}
