// conv2d on tensor cores beside the shared kernels: on the direct product where input and weights are channels-last
// (rows are pixels, columns output channels, the sum runs tap by tap over the channels), else on the strided one.

import type { ArgSpec, Conv2dOp } from '@darkroom/core/backend';
import { conv2d as shared, conv2dSize, convResult, pixelRows, tiledConv2d } from '@darkroom/gpu-kernels';
import type { KernelFactory, KernelSpec } from '@darkroom/gpu-kernels';
import type { CudaTraits } from '../traits.ts';
import { directProduct, inPieces } from './tensor-cores/direct-product.ts';
import { onTensorCores } from './tensor-cores/factory.ts';
import type { TensorElement, TensorPick } from './tensor-cores/tiles.ts';

/** True if input and weights lie in pieces along the channels. */
function isDirect(args: readonly ArgSpec[], element: TensorElement): boolean {
  const [x, w] = [args[0]!, args[1]!];
  const [sn, sc, sh, sw] = x.layout.strides as [number, number, number, number];
  const [wo, wc, wh, ww] = w.layout.strides as [number, number, number, number];
  const channels = w.layout.shape[1]!;
  return (
    pixelRows(args.at(-1)!) &&
    sc === 1 &&
    wc === 1 &&
    channels >= (element === 'tf32' ? 4 : 8) &&
    inPieces(x, channels, sn, sh, sw) &&
    inPieces(w, channels, wo, wh, ww)
  );
}

function directConv2d(
  op: Conv2dOp,
  args: readonly ArgSpec[],
  pick: TensorPick,
  traits: CudaTraits,
  element: TensorElement,
): KernelSpec {
  const [x, w, out] = [args[0]!.layout, args[1]!.layout, args.at(-1)!.layout];
  const [, , height, width] = x.shape as [number, number, number, number];
  const [o, channels, kh, kw] = w.shape as [number, number, number, number];
  const [n, , oh, ow] = out.shape as [number, number, number, number];
  const per = element === 'tf32' ? 4 : 8;
  const stack = 'u32 conv_group = stack;';
  return directProduct(args, traits, {
    label: `conv2d/${pick.tile.id}`,
    element,
    pick,
    m: n * oh * ow,
    n: o / op.groups,
    stacks: op.groups,
    k: channels,
    taps: kh * kw,
    operands: (s) => {
      const [sn, , sh, sw] = x.strides.map((v, d) => s.u32(`x_s${d}`, Math.floor(v / per))); // prettier-ignore
      const [wo, , wh, ww] = w.strides.map((v, d) => s.u32(`w_s${d}`, Math.floor(v / per))); // prettier-ignore
      const [OG, OH, OW, KW] = [s.u32('og', o / op.groups), s.u32('oh', oh), s.u32('ow', ow), s.u32('kw', kw)]; // prettier-ignore
      const [H, W, G] = [s.u32('h', height), s.u32('w', width), s.u32('group_pieces', channels / per)];
      const tap = `tap_y = i32(tap_r) * ${s.i32('dilation_h', op.dilation[0])};
    tap_x = i32(tap_s) * ${s.i32('dilation_w', op.dilation[1])};
    w_tap = tap_r * ${wh} + tap_s * ${ww};`;
      return {
        stack,
        start: (index) => `u32 tap_r = ${index} / ${KW};
  u32 tap_s = ${index} % ${KW};
  i32 tap_y, tap_x;
  u32 w_tap;
  ${tap}`,
        next: `tap_s++; if (tap_s == ${KW}) { tap_s = 0u; tap_r++; } ${tap}`,
        a: {
          // Pixels past the last one read it; what they compute is not stored.
          setup: (slot, index) => `u32 ${slot}_p = min(${index}, ${s.u32('pixels', n * oh * ow)} - 1u);
  i32 ${slot}_x = i32(${slot}_p % ${OW}) * ${s.i32('stride_w', op.stride[1])} - ${s.i32('left', op.padding[2])};
  i32 ${slot}_y = i32(${slot}_p / ${OW} % ${OH}) * ${s.i32('stride_h', op.stride[0])} - ${s.i32('top', op.padding[0])};
  u32 ${slot}_n = ${slot}_p / ${OW} / ${OH} * ${sn} + conv_group * ${G};`,
          piece: (slot, at) =>
            `${slot}_n + u32(${slot}_y + tap_y) * ${sh} + u32(${slot}_x + tap_x) * ${sw} + ${at} / ${per}u`,
          // Negative coordinates are huge ones.
          inside: (slot) => `u32(${slot}_y + tap_y) < ${H} && u32(${slot}_x + tap_x) < ${W}`,
        },
        b: {
          setup: (slot, index) => `u32 ${slot} = (conv_group * ${OG} + min(${index}, ${OG} - 1u)) * ${wo};`,
          piece: (slot, at) => `${slot} + w_tap + ${at} / ${per}u`,
        },
      };
    },
    result: (s) => ({ stack, place: convResult(s, op, args, true) }),
  });
}

/** The shared kernels of conv2d, and before them those on tensor cores. */
export const conv2d: KernelFactory<Conv2dOp, CudaTraits> = onTensorCores<Conv2dOp>(shared, {
  size: conv2dSize,
  isDirect,
  direct: directConv2d,
  tiled: tiledConv2d,
});
