// Timestep embeddings: sinusoidal features (always in float32) and the small network on them.

import { add, cast, concat, full, map, Module, nn, scope, tensor } from '@darkroom/core';
import type { Activation, Device, Expr, Linear, Tensor } from '@darkroom/core';

/** Options of timestepEmbedding. */
export interface TimestepOptions {
  /** cos before sin. */
  readonly flipSinToCos?: boolean;
  readonly freqShift?: number;
  readonly scale?: number;
  readonly maxPeriod?: number;
}

/**
 * t [n] → [n, dim] in float32: sin and cos of scale·t·maxPeriod^(-i/(dim/2 - freqShift)); an odd dim ends in a zero.
 * Frequencies are rounded to float32 as in the reference: the rounding is visible for t near 1000.
 */
export function timestepEmbedding(t: Tensor, dim: number, options: TimestepOptions = {}): Tensor {
  const { flipSinToCos = true, freqShift = 0, scale = 1, maxPeriod = 10000 } = options;
  const half = Math.floor(dim / 2);
  const f32 = (e: Expr): Expr => ['cast', 'float32', e];
  const exponent = f32([
    'div',
    f32(['mul', Math.fround(-Math.log(maxPeriod)), ['index', 1]]),
    half - freqShift,
  ]);
  const angle: Expr = ['mul', scale, f32(['mul', ['in', 0], f32(['exp', exponent])])];
  return scope(() => {
    const [n] = t.shape as [number];
    const column = t.view([n, 1]);
    const part = (e: Expr, width: number): Tensor =>
      map(e, [column], { shape: [n, width], dtype: 'float32' });
    const [sin, cos] = [part(['sin', angle], half), part(['cos', angle], half)];
    const parts = flipSinToCos ? [cos, sin] : [sin, cos];
    if (dim % 2 === 1) parts.push(part(0, 1));
    return concat(parts, 1);
  });
}

/** A timestep for the whole batch, or one for each item, as a float32 tensor [batch]. */
export function timestepTensor(
  t: number | readonly number[] | Tensor,
  batch: number,
  device: Device | undefined,
): Tensor {
  if (typeof t === 'number') return full([batch], t, { device });
  if (!('layout' in t))
    return timestepTensor(t.length === 1 ? t[0]! : tensor(t, { device: device! }), batch, device);
  const wide = cast(t, 'float32');
  if (t.rank === 0 || (t.rank === 1 && t.shape[0] === 1 && batch > 1)) return wide.view([1]).expand([batch]);
  return wide;
}

/** x [n, in] (+ cond_proj(condition)) → linear_1 → activation → linear_2: [n, out]. */
export class TimestepEmbedding extends Module<[x: Tensor, condition?: Tensor | undefined], Tensor> {
  linear_1: Linear;
  cond_proj?: Linear;
  linear_2: Linear;
  readonly #activation: Activation;
  readonly #post: Activation | undefined;

  constructor(
    inputs: number,
    size: number,
    options: {
      activation?: Activation;
      outputs?: number;
      conditionSize?: number | undefined;
      post?: Activation | undefined;
    } = {},
  ) {
    super();
    this.linear_1 = nn.linear(inputs, size);
    if (options.conditionSize !== undefined)
      this.cond_proj = nn.linear(options.conditionSize, inputs, { bias: false });
    this.linear_2 = nn.linear(size, options.outputs ?? size);
    this.#activation = options.activation ?? 'silu';
    this.#post = options.post;
  }

  override forward(x: Tensor, condition?: Tensor): Tensor {
    const input = condition && this.cond_proj ? add(x, this.cond_proj.call(condition)) : x;
    return this.linear_2.call(this.linear_1.call(input, { activation: this.#activation }), {
      activation: this.#post,
    });
  }
}
