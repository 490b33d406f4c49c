// The few NumPy functions that timestep and sigma tables are defined by, with their rounding.
// Host math is float64; where diffusers computes in float32 the callers round with Math.fround.
// Reference: numpy.linspace, numpy.arange, numpy.round and numpy.interp.

/** Half to even, as NumPy and torch round. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest === 0.5) return floor % 2 === 0 ? floor : floor + 1;
  return Math.round(x);
}

/** `count` values from start to stop; stop is left out when `endpoint` is false. */
export function linspace(start: number, stop: number, count: number, endpoint = true): number[] {
  const parts = endpoint ? count - 1 : count;
  const step = parts > 0 ? (stop - start) / parts : 0;
  const out = Array.from({ length: count }, (_, i) => i * step + start);
  if (endpoint && count > 1) out[count - 1] = stop;
  return out;
}

/** start, start + step, … before stop. The increment is what NumPy sees: (start + step) - start. */
export function arange(start: number, stop: number, step: number): number[] {
  const count = Math.max(0, Math.ceil((stop - start) / step));
  const delta = start + step - start;
  return Array.from({ length: count }, (_, i) => start + i * delta);
}

/** Linear interpolation of the table `ys` over 0, 1, 2, … at x, held at both ends. */
export function interpolate(x: number, ys: ArrayLike<number>): number {
  const last = ys.length - 1;
  if (x <= 0) return ys[0]!;
  if (x >= last) return ys[last]!;
  const i = Math.floor(x);
  return (ys[i + 1]! - ys[i]!) * (x - i) + ys[i]!;
}

/** torch.linspace in float32: from both ends towards the middle, each value rounded once (a fused multiply-add). */
export function linspaceFloat32(start: number, stop: number, count: number): Float32Array {
  const f = Math.fround;
  const [a, b] = [f(start), f(stop)];
  if (count === 1) return Float32Array.of(a);
  const step = f(f(b - a) / (count - 1));
  return Float32Array.from({ length: count }, (_, i) =>
    i < Math.floor(count / 2) ? a + step * i : b - step * (count - i - 1),
  );
}

/** Solves a small dense system by elimination with partial pivoting. */
export function solve(matrix: readonly (readonly number[])[], right: readonly number[]): number[] {
  const n = right.length;
  const a = matrix.map((row, i) => [...row, right[i]!]);
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k + 1; i < n; i++) if (Math.abs(a[i]![k]!) > Math.abs(a[pivot]![k]!)) pivot = i;
    [a[k], a[pivot]] = [a[pivot]!, a[k]!];
    for (let i = k + 1; i < n; i++) {
      const factor = a[i]![k]! / a[k]![k]!;
      for (let j = k; j <= n; j++) a[i]![j]! -= factor * a[k]![j]!;
    }
  }
  const x = new Array<number>(n).fill(0);
  for (let i = n - 1; i >= 0; i--) {
    let sum = a[i]![n]!;
    for (let j = i + 1; j < n; j++) sum -= a[i]![j]! * x[j]!;
    x[i] = sum / a[i]![i]!;
  }
  return x;
}
