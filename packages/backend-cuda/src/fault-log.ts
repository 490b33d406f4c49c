// What ran otherwise than chosen, as records: a warning is easily lost, and a timing of kernels that fell back misleads.

import { log } from '@darkroom/core';

/** One event after which something else ran than was chosen. */
export interface CudaFault {
  /**
   * library-failed: an error of a library, our own kernel runs. library-refused: a library does not take this choice for
   * this op (the tuner tries many). capture-failed: the kernels run one by one. choice: another kernel of the op runs,
   * as for arguments that are not aligned.
   */
  readonly kind: 'library-failed' | 'library-refused' | 'capture-failed' | 'choice';
  /** The op's kind, or the library's name. */
  readonly op: string;
  /** Id of the choice that does not run. */
  readonly choice?: string;
  readonly message: string;
}

const most = 1000;

/** The faults of a device, the oldest first: at most 1000, equal ones once. */
export class FaultLog {
  readonly #list: CudaFault[] = [];
  readonly #known = new Set<string>();

  get list(): readonly CudaFault[] {
    return this.#list;
  }

  /** Keeps the fault. */
  note(fault: CudaFault): void {
    const key = JSON.stringify(fault);
    if (this.#known.has(key) || this.#list.length >= most) return;
    this.#known.add(key);
    this.#list.push(fault);
  }
  /** Keeps the fault and warns with its message and what runs `instead`. */
  warn(fault: CudaFault, instead: string): void {
    this.note(fault);
    log.warn(`${fault.message}${instead}`);
  }
}
