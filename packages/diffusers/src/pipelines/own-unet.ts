// A user's own object as the UNet, as diffusers' guides do: any object with a config, a device, a dtype and a
// forward().

import { ArgumentError, scope, Tensor } from '@darkroom/core';
import type { Device, DType } from '@darkroom/core';
import type { Conditioning } from '../models/conditioning.ts';
import type { ConfigRecord } from '../models/config.ts';
import type { UNetLike } from '../models/types.ts';
import type { UNetOutput } from '../models/unet2d-condition.ts';

/** A user's own UNet, by the members that a pipeline reads. The pipeline neither moves nor frees it. */
export interface OwnUNet {
  /** At least `in_channels`; other missing keys take diffusers' defaults. */
  readonly config: ConfigRecord;
  readonly device: Device;
  readonly dtype: DType;
  /** sample [n, c, h, w], a timestep and the conditioning → the prediction, in any of diffusers' forms. */
  forward(
    sample: Tensor,
    timestep: number,
    conditioning: Conditioning,
  ): Tensor | readonly [Tensor, ...unknown[]] | UNetOutput;
}

/** `given` with the members of UNetLike. @throws ArgumentError if config, device, dtype or forward is missing. */
export function asUNet(given: UNetLike | OwnUNet): UNetLike {
  if ('call' in given && typeof given.call === 'function') return given;
  const own = given as OwnUNet;
  for (const [key, type] of [
    ['config', 'object'],
    ['device', 'object'],
    ['dtype', 'string'],
    ['forward', 'function'],
  ] as const) {
    const got = typeof own[key];
    if (got !== type)
      throw new ArgumentError(
        `unet: an object of one's own needs config, device, dtype and forward; ${key} is ${got}, not ${type}`,
      );
  }
  const call = (...args: Parameters<OwnUNet['forward']>): UNetOutput =>
    scope(() => {
      const out = own.forward(...args);
      const sample: unknown =
        out instanceof Tensor ? out : Array.isArray(out) ? out[0] : (out as UNetOutput).sample;
      if (!(sample instanceof Tensor))
        throw new ArgumentError(
          'unet: forward must give a tensor, a list that begins with one, or { sample }',
        );
      return { sample };
    });
  const to = async (): Promise<never> => {
    throw new ArgumentError(
      'to: the UNet is an object of your own; move or convert it yourself, and the other components each with to()',
    );
  };
  return {
    get config() {
      return own.config;
    },
    get device() {
      return own.device;
    },
    get dtype() {
      return own.dtype;
    },
    call,
    to,
    dispose() {},
  };
}
