// The parameterised layers of the model zoo: Linear, Conv2d, GroupNorm, LayerNorm, Embedding.

import { conv2d } from '../ops/conv2d.ts';
import type { Conv2dOptions } from '../ops/conv2d.ts';
import { embedding } from '../ops/gather.ts';
import { linear } from '../ops/matmul.ts';
import type { Epilogue } from '../ops/matmul.ts';
import { groupNorm, layerNorm } from '../ops/norm.ts';
import { add } from '../ops/pointwise.ts';
import type { Tensor } from '../tensor.ts';
import { Module, parameter } from './module.ts';
import type { AnyModule } from './module.ts';
import { denseWeight } from './weight.ts';
import type { Weight } from './weight.ts';

/** Work that a layer's caller fuses into its kernel: a residual, an activation, a scale. */
export type Fuse = Omit<Epilogue, 'bias'>;

/** A module whose result for the layer's input is added to the layer's product: LoRA's two small products. */
export type Adapter = Module<[x: Tensor], Tensor>;

/**
 * A layer that multiplies by a weight, and adds its adapters' results. Adapters change neither weight nor stateDict.
 */
export abstract class AdaptableLayer extends Module<[x: Tensor, fuse?: Fuse], Tensor> {
  /** Adapters by name, in the order in which they are added up. */
  get adapters(): ReadonlyMap<string, Adapter> {
    const named = [...this.attached].map(
      ([path, adapter]) => [path.slice('adapters.'.length), adapter] as const,
    );
    return new Map(named);
  }
  /** Adds the result of `adapter` for the layer's input, broadcast to the output, before the fused activation. */
  addAdapter(name: string, adapter: Adapter): void {
    this.attach(`adapters.${name}`, adapter as AnyModule);
  }
  /** Removes an adapter, whose weights the caller then owns; undefined when none has this name. */
  removeAdapter(name: string): Adapter | undefined {
    return this.detach(`adapters.${name}`);
  }

  /** `fuse` with the sum of the adapters' results in the residual. */
  protected adapted(x: Tensor, fuse: Fuse): Fuse {
    if (this.attached.size === 0) return fuse;
    let { residual } = fuse;
    for (const adapter of this.attached.values()) {
      const extra = (adapter as Adapter).call(x);
      residual = residual ? add(residual, extra) : extra;
    }
    return { ...fuse, residual };
  }
}

/** Options of a Linear. */
export interface LinearOptions {
  /** Default true. */
  readonly bias?: boolean;
  /** A weight [out, in] in another form than a dense tensor. */
  readonly weight?: Weight;
}

/** x [..., in] → [..., out]; the fusion argument adds a residual or an activation in the same kernel. */
export class Linear extends AdaptableLayer {
  weight: Weight;
  bias?: Tensor;

  constructor(inFeatures: number, outFeatures: number, options: LinearOptions = {}) {
    super();
    this.weight = options.weight ?? parameter([outFeatures, inFeatures]);
    if (options.bias ?? true) this.bias = parameter([outFeatures]);
  }

  override forward(x: Tensor, fuse: Fuse = {}): Tensor {
    return linear(x, denseWeight(this.weight), { ...this.adapted(x, fuse), bias: this.bias });
  }
}

/** Options of a Conv2d. */
export interface ConvLayerOptions extends Omit<Conv2dOptions, keyof Epilogue> {
  /** Default true. */
  readonly hasBias?: boolean;
  /** A weight [out, in / groups, kernel, kernel] in another form than a dense tensor. */
  readonly weight?: Weight;
}

/** x [n, in, h, w] → [n, out, h', w'] in x's memory format. */
export class Conv2d extends AdaptableLayer {
  weight: Weight;
  bias?: Tensor;
  readonly options: Omit<Conv2dOptions, keyof Epilogue>;

  constructor(inChannels: number, outChannels: number, kernel: number, options: ConvLayerOptions = {}) {
    super();
    const { hasBias = true, weight, ...geometry } = options;
    this.options = geometry;
    this.weight = weight ?? parameter([outChannels, inChannels / (geometry.groups ?? 1), kernel, kernel]);
    if (hasBias) this.bias = parameter([outChannels]);
  }

  override forward(x: Tensor, fuse: Fuse = {}): Tensor {
    return conv2d(x, denseWeight(this.weight), {
      ...this.options,
      ...this.adapted(x, fuse),
      bias: this.bias,
    });
  }
}

/** x [n, c, ...] → the same shape; the fused activation is part of the kernel. */
export class GroupNorm extends Module<[x: Tensor, activation?: 'silu'], Tensor> {
  weight: Tensor;
  bias: Tensor;
  readonly groups: number;
  readonly eps: number;

  constructor(groups: number, channels: number, eps = 1e-5) {
    super();
    this.groups = groups;
    this.eps = eps;
    this.weight = parameter([channels]);
    this.bias = parameter([channels]);
  }

  override forward(x: Tensor, activation?: 'silu'): Tensor {
    return groupNorm(x, this.groups, { weight: this.weight, bias: this.bias, eps: this.eps, activation });
  }
}

/** x [..., d] → the same shape. */
export class LayerNorm extends Module<[x: Tensor], Tensor> {
  weight: Tensor;
  bias: Tensor;
  readonly eps: number;

  constructor(size: number, eps = 1e-5) {
    super();
    this.eps = eps;
    this.weight = parameter([size]);
    this.bias = parameter([size]);
  }

  override forward(x: Tensor): Tensor {
    return layerNorm(x, { weight: this.weight, bias: this.bias, eps: this.eps });
  }
}

/** ids int32 [...] → [..., d]. */
export class Embedding extends Module<[ids: Tensor], Tensor> {
  weight: Tensor;

  constructor(count: number, size: number) {
    super();
    this.weight = parameter([count, size]);
  }

  override forward(ids: Tensor): Tensor {
    return embedding(this.weight, ids);
  }
}
