// Philox4x32-10 with its whole 128-bit counter: core's `philox` leaves the upper half at zero.
// Reference: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11 (Random123).

type Words4 = readonly [number, number, number, number];

/** One block: four 32-bit words from a counter of four words and a key of two, low words first. */
export function philox4x32(counter: Words4, key: readonly [number, number], out: Uint32Array): void {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0) >>> 0;
    const high1 = mulHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  out.set([c0, c1, c2, c3]);
}

/** The high 32 bits of a product; the 16-bit halves keep every step within exact doubles. */
function mulHigh(a: number, b: number): number {
  const [a0, a1] = [a & 0xffff, a >>> 16];
  const [b0, b1] = [b & 0xffff, b >>> 16];
  const middle = a1 * b0 + Math.floor((a0 * b0) / 65536);
  const carry = Math.floor((a0 * b1 + (middle % 65536)) / 65536);
  return (a1 * b1 + Math.floor(middle / 65536) + carry) >>> 0;
}
