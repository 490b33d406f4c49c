// The Mersenne Twister MT19937, 32 bits a draw.
// Reference: Matsumoto and Nishimura, "Mersenne Twister", ACM TOMACS 8(1), 1998.

const n = 624;
const m = 397;

export class Mt19937 {
  readonly #state: Uint32Array;
  /** Words of the current block that were drawn. */
  #used: number;

  /** Seeds from the low 32 bits of a number. */
  constructor(seed: number) {
    const s = new Uint32Array(n);
    s[0] = seed;
    for (let i = 1; i < n; i++) s[i] = Math.imul(1812433253, s[i - 1]! ^ (s[i - 1]! >>> 30)) + i;
    this.#state = s;
    this.#used = n;
  }

  /** The next 32 bits, as an unsigned number. */
  next(): number {
    if (this.#used === n) this.#refill();
    let y = this.#state[this.#used++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    y ^= y >>> 18;
    return y >>> 0;
  }

  /** State words, and how many of them were drawn. */
  save(): { readonly words: Uint32Array; readonly used: number } {
    return { words: this.#state.slice(), used: this.#used };
  }

  /** Restores a state returned by save(). */
  restore(saved: { readonly words: Uint32Array; readonly used: number }): void {
    this.#state.set(saved.words);
    this.#used = saved.used;
  }

  #refill(): void {
    const s = this.#state;
    for (let i = 0; i < n; i++) {
      const y = (s[i]! & 0x80000000) | (s[(i + 1) % n]! & 0x7fffffff);
      s[i] = s[(i + m) % n]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.#used = 0;
  }
}
