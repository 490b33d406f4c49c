// A module without parameters in the place of a dropout, so that parameter names are those of checkpoints.

import { Module } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';

export class Identity extends Module<[x: Tensor], Tensor> {
  override forward(x: Tensor): Tensor {
    return x;
  }
}
