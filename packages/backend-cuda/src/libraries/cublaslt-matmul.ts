// Matrix products by cuBLASLt: its algorithms, as its heuristics rank them, are the choices.

import type { ArgSpec, Choice, KernelOp } from '@darkroom/core/backend';
import type { FaultLog } from '../fault-log.ts';
import { cublasReduction, cublasType } from '../node/native.ts';
import type { Address, CublasAlgorithm, CublasLt, Stream } from '../node/native.ts';
import { areAligned } from '../provider.ts';
import type { Library, Prepared } from '../provider.ts';
import { cublasMatmul } from './cublaslt-problem.ts';
import type { CublasMatmul } from './cublaslt-problem.ts';
import { LazyHandle } from './lazy-handle.ts';

const most = 16;
/** The most bytes of workspace of an algorithm; splits of k need room for their parts. */
const workspaceLimit = 32 * 2 ** 20;

export class CublasLtMatmul implements Library {
  readonly name = 'cublaslt';
  readonly #lt: CublasLt;
  readonly #handle: LazyHandle<Address>;
  readonly #problems: Address[] = [];

  constructor(lt: CublasLt, faults?: FaultLog) {
    this.#lt = lt;
    this.#handle = new LazyHandle('cuBLASLt', () => lt.create(), faults);
  }

  choices(op: KernelOp, args: readonly ArgSpec[]): readonly Choice[] {
    const matmul = op.kind === 'matmul' && cublasMatmul(op, args);
    const handle = matmul ? this.#handle.get() : undefined;
    if (!matmul || handle === undefined) return [];
    const problem = this.#lt.problem(matmul.problem);
    try {
      const found = this.#lt.algorithms(
        handle,
        problem,
        workspaceLimit,
        reductionsOf(matmul),
        matmul.alignments,
        most,
      );
      return found.map(({ data, workspaceBytes }, i) => ({
        id: i === 0 ? this.name : `${this.name}-${i}`,
        params: toBase64(data),
        workspaceBytes,
      }));
    } finally {
      this.#lt.problemDestroy(problem);
    }
  }

  prepare(op: KernelOp, args: readonly ArgSpec[], choice: Choice): Prepared | undefined {
    const matmul = op.kind === 'matmul' && cublasMatmul(op, args);
    const data = typeof choice.params === 'string' ? fromBase64(choice.params) : undefined;
    if (!matmul || !data) return undefined;
    const handle = this.#handle.get();
    if (handle === undefined) return undefined;
    const problem = this.#lt.problem(matmul.problem);
    this.#problems.push(problem);
    const algorithm = this.#lt.restore(handle, problem, data);
    return algorithm && new CublasLtKernel(this.#lt, handle, problem, algorithm, matmul, args.length);
  }

  [Symbol.dispose](): void {
    for (const problem of this.#problems.splice(0)) this.#lt.problemDestroy(problem);
    this.#handle.dispose((handle) => this.#lt.destroy(handle));
  }
}

class CublasLtKernel implements Prepared {
  readonly scratch: readonly number[];
  readonly #lt: CublasLt;
  readonly #handle: Address;
  readonly #problem: Address;
  readonly #algorithm: CublasAlgorithm;
  readonly #matmul: CublasMatmul;
  readonly #workspace: number;

  constructor(
    lt: CublasLt,
    handle: Address,
    problem: Address,
    algorithm: CublasAlgorithm,
    matmul: CublasMatmul,
    args: number,
  ) {
    this.#lt = lt;
    this.#handle = handle;
    this.#problem = problem;
    this.#algorithm = algorithm;
    this.#matmul = matmul;
    this.#workspace = args;
    this.scratch = algorithm.workspaceBytes > 0 ? [algorithm.workspaceBytes] : [];
  }

  fits(addresses: readonly number[]): boolean {
    return areAligned(addresses);
  }

  run(addresses: readonly number[], _: readonly number[], stream: Stream): number {
    const { alpha, beta, a, b, c, d, bias } = this.#matmul;
    this.#lt.run(
      this.#handle,
      this.#problem,
      this.#algorithm.id,
      alpha,
      beta,
      addresses[a]!,
      addresses[b]!,
      addresses[c]!,
      addresses[d]!,
      bias < 0 ? 0 : addresses[bias]!,
      addresses[this.#workspace] ?? 0,
      this.#algorithm.workspaceBytes,
      stream,
    );
    return 1;
  }
}

/** Parts of a split k are added in float32, whatever the result's type. */
function reductionsOf({ problem }: CublasMatmul): number {
  const { inplace, computeType, outputType } = cublasReduction;
  return problem.d.type === cublasType.float32 ? inplace | computeType | outputType : computeType;
}

const toBase64 = (data: ArrayBuffer): string => btoa(String.fromCharCode(...new Uint8Array(data)));
/** undefined where the text is not that of an algorithm's 64 bytes. */
const fromBase64 = (text: string): ArrayBuffer | undefined =>
  /^[A-Za-z0-9+/]{86}==$/.test(text) ? Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer : undefined;
