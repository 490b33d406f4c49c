// Counters and spans: how often each kernel ran, and (when on) host time in and outside kernels.
// On a synchronous backend (CPU) host time inside `run` is kernel time; elsewhere it is enqueue time.

/** Calls and time of one kernel label. */
export interface KernelTotals {
  calls: number;
  ms: number;
}

/** Time by kernel; off unless enabled. */
export class Profile {
  /** True to measure times, at two clock reads per op. Default: false. */
  enabled = false;
  readonly #kernels = new Map<string, KernelTotals>();

  add(label: string, ms: number): void {
    const totals = this.#kernels.get(label);
    if (totals) {
      totals.calls++;
      totals.ms += ms;
    } else this.#kernels.set(label, { calls: 1, ms });
  }

  reset(): void {
    this.#kernels.clear();
  }

  /** Totals by kernel label, the slowest first. */
  report(): readonly { readonly label: string; readonly calls: number; readonly ms: number }[] {
    return [...this.#kernels].map(([label, t]) => ({ label, ...t })).sort((a, b) => b.ms - a.ms);
  }

  /** Milliseconds inside kernels since the last reset. */
  get kernelMs(): number {
    let ms = 0;
    for (const t of this.#kernels.values()) ms += t.ms;
    return ms;
  }
}
