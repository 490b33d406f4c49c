// A module without parameters: holds the place of a dropout, so that the names of its neighbours fit checkpoints.

import { Module } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';

export class Identity extends Module<[x: Tensor], Tensor> {
  override forward(x: Tensor): Tensor {
    return x;
  }
}
