// The parameterised layers of the model zoo: Linear, Conv2d, GroupNorm, LayerNorm, Embedding.

import { conv2d } from '../ops/conv2d.ts';
import type { Conv2dOptions } from '../ops/conv2d.ts';
import { embedding } from '../ops/gather.ts';
import { linear } from '../ops/matmul.ts';
import type { Epilogue } from '../ops/matmul.ts';
import { groupNorm, layerNorm } from '../ops/norm.ts';
import type { Tensor } from '../tensor.ts';
import { Module, parameter } from './module.ts';

/** x [..., in] → [..., out]; the fusion argument adds a residual or an activation in the same kernel. */
export class Linear extends Module<[x: Tensor, fuse?: Omit<Epilogue, 'bias'>], Tensor> {
  weight: Tensor;
  bias?: Tensor;

  constructor(inFeatures: number, outFeatures: number, options: { bias?: boolean } = {}) {
    super();
    this.weight = parameter([outFeatures, inFeatures]);
    if (options.bias ?? true) this.bias = parameter([outFeatures]);
  }

  override forward(x: Tensor, fuse: Omit<Epilogue, 'bias'> = {}): Tensor {
    return linear(x, this.weight, { ...fuse, bias: this.bias });
  }
}

/** x [n, in, h, w] → [n, out, h', w'] in x's memory format. */
export class Conv2d extends Module<[x: Tensor, fuse?: Omit<Epilogue, 'bias'>], Tensor> {
  weight: Tensor;
  bias?: Tensor;
  readonly options: Omit<Conv2dOptions, keyof Epilogue>;

  constructor(
    inChannels: number,
    outChannels: number,
    kernel: number,
    options: Omit<Conv2dOptions, keyof Epilogue> & { readonly hasBias?: boolean } = {},
  ) {
    super();
    const { hasBias = true, ...geometry } = options;
    this.options = geometry;
    this.weight = parameter([outChannels, inChannels / (geometry.groups ?? 1), kernel, kernel]);
    if (hasBias) this.bias = parameter([outChannels]);
  }

  override forward(x: Tensor, fuse: Omit<Epilogue, 'bias'> = {}): Tensor {
    return conv2d(x, this.weight, { ...this.options, ...fuse, bias: this.bias });
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
