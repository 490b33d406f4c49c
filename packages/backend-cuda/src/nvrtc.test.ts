// The device header through the real NVRTC, for every architecture: no GPU is needed. Where NVRTC is not installed the
// tests are skipped, unless DARKROOM_REQUIRE names nvrtc. DARKROOM_SITE_PACKAGES may name folders that pip filled.

import { delimiter } from 'node:path';
import { describe, expect, test } from 'vitest';
import { kernelText } from './text/device.cu.ts';
import { compile, compileAsync, diagnose, explain, loadAddon } from './node/addon.ts';
import type { LibraryReport } from './node/addon.ts';
import { skip } from '@darkroom/core/testing';
import { addonIsMissing } from './node/testing.ts';

const sitePackages = (process.env['DARKROOM_SITE_PACKAGES'] ?? '').split(delimiter).filter(Boolean);
// libcuda's variable may name the emulator; here only NVRTC counts.
const nvrtc: LibraryReport | undefined = addonIsMissing()
  ? undefined
  : diagnose({ sitePackages, emulator: false }).libraries.nvrtc;
const missing = !nvrtc?.found && skip('nvrtc', nvrtc ? explain('nvrtc', nvrtc) : 'the addon is missing');

const everything = (bf16: boolean): string => `
extern "C" __global__ void __launch_bounds__(128) everything(const f16* a, const f16* b, float* d, u32* out) {
  DYNAMIC_SHARED(f16, tile);
  const int lane = threadIdx.x & 31;
  copyAsync<16>(tile + threadIdx.x * 8, a + threadIdx.x * 8, threadIdx.x < 100 ? 16 : 6);
  copyAsync<8>(tile + 1024 + threadIdx.x * 4, b + threadIdx.x * 4);
  copyCommit();
  copyWait<1>();
  copyWaitAll();
  __syncthreads();
  u32 fa[4], fb[4];
  float fd[4] = {0, 0, 0, 0};
  loadMatrix4(fa, tile + lane * 8);
  loadMatrix2(fb, tile + lane % 16 * 8);
  mmaF16(fd, fa, fb);
  loadMatrix4Transposed(fa, tile + lane * 8);
  loadMatrix2Transposed(fb, tile + lane % 16 * 8);
  mmaF16(fd, fa, fb);
  ${bf16 ? 'mmaBf16(fd, fa, fb); fa[0] = toTf32(fd[0]); mmaTf32(fd, fa, fb);' : ''}
  fd[0] = warpSum(fastExp2(fd[0])) + warpMax(fastReciprocal(fd[1]));
  for (int i = 0; i < 4; i++) d[threadIdx.x * 4 + i] = fd[i] + toFloat(fromFloat<f16>(fd[i])) + toFloat(fromFloat<bf16>(fd[i]));
  out[threadIdx.x] = packF16(fd[0], fd[1]) ^ packBf16(fd[2], fd[3]) ^ __float_as_uint(lowF16(fa[0]) + highBf16(fa[1]));
}`;

describe.skipIf(missing)('NVRTC without a GPU', () => {
  const api = missing ? undefined : loadAddon().nvrtc;
  test.each([75, 80, 86, 89, 90, 100, 120])('compiles every wrapper for sm_%i', (arch) => {
    const cubin = compile(api!, 'everything', kernelText(everything(arch >= 80)), [`-arch=sm_${arch}`]);
    expect([...cubin.subarray(0, 4)]).toEqual([0x7f, 0x45, 0x4c, 0x46]);
    // A cubin's machine is EM_CUDA.
    expect(new DataView(cubin.buffer).getUint16(18, true)).toBe(190);
  });
  test('reports errors with the label and the kernel’s own line, compiles on workers', async () => {
    const broken = kernelText('\nextern "C" __global__ void broken(float* x) {\n  x[0] = oops;\n}');
    expect(() => compile(api!, 'map/broken', broken, ['-arch=sm_80'])).toThrow(
      /map\/broken: the kernel does not compile:\nmap\/broken\.cu\(3\): error: .*oops/s,
    );
    expect(() => compile(api!, 'map/broken', broken, ['-arch=sm_1'])).toThrow(
      /libnvrtc: nvrtcCompileProgram failed with 5: NVRTC_ERROR_INVALID_OPTION/,
    );
    const source = kernelText(everything(true));
    const both = await Promise.all([80, 90].map((a) => compileAsync(api!, 'x', source, [`-arch=sm_${a}`])));
    expect(both.map((c) => c.length > 1000)).toEqual([true, true]);
    expect(api!.version()).toMatch(/^\d+\.\d+$/);
  });
});
