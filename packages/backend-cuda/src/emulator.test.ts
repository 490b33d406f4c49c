// Kernels under the CPU emulator, through the same addon and calls as on a GPU.

import { beforeAll, describe, expect, test } from 'vitest';
import { ArgumentBlock } from './arguments.ts';
import type { ArgumentType } from './arguments.ts';
import { kernelText } from './text/device.cu.ts';
import { compile, compileAsync, launch, openCuda } from './node/addon.ts';
import type { Cuda, Size3 } from './node/addon.ts';
import { deviceAttribute, functionAttribute } from './node/native.ts';
import { emulatorIsMissing } from './node/testing.ts';

const missing = emulatorIsMissing();

describe.skipIf(missing)('cuda emulator', () => {
  let cuda: Cuda;
  let stream: number;
  beforeAll(() => {
    cuda = openCuda({ emulator: true });
    cuda.driver.contextUse(cuda.driver.contextRetain(0));
    stream = cuda.driver.streamCreate(0);
  });

  function build(name: string, source: string, options: readonly string[] = ['-arch=sm_80']): number {
    const cubin = compile(cuda.nvrtc, name, kernelText(source), options);
    return cuda.driver.moduleFunction(cuda.driver.moduleLoad(cubin), name);
  }
  function upload(values: Float32Array | Uint16Array | Int32Array): number {
    const at = cuda.driver.allocAsync(values.byteLength, stream);
    cuda.driver.copyToDevice(at, values, stream);
    return at;
  }
  function floats(at: number, count: number): Float32Array {
    const out = new Float32Array(count);
    cuda.driver.copyToHost(out, at, stream);
    cuda.driver.streamSynchronize(stream);
    return out;
  }
  function start(
    kernel: number,
    grid: number,
    block: number,
    types: readonly ArgumentType[],
    values: readonly number[],
    sharedBytes = 0,
  ): void {
    const sizes: readonly [Size3, Size3] = [
      [grid, 1, 1],
      [block, 1, 1],
    ];
    const { buffer } = new ArgumentBlock(types).setAll(values);
    launch(cuda.driver, 'test', kernel, sizes[0], sizes[1], sharedBytes, stream, buffer);
  }

  test('runs axpy', () => {
    const kernel = build(
      'axpy',
      `extern "C" __global__ void __launch_bounds__(128) axpy(const float* x, float* y, float a, int n) {
        const int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i < n) y[i] += a * x[i];
      }`,
    );
    const x = Float32Array.from({ length: 1000 }, (_, i) => i);
    const [from, to] = [upload(x), upload(x)];
    start(kernel, 8, 128, ['pointer', 'pointer', 'f32', 'i32'], [from, to, 0.5, 1000]);
    expect(floats(to, 1000)).toEqual(x.map((v) => 1.5 * v));
    cuda.driver.freeAsync(from, stream);
    cuda.driver.freeAsync(to, stream);
    start(build('empty', 'extern "C" __global__ void empty() {}'), 1, 32, [], []);
  });

  // One block sums 256 values: a tree in dynamic shared memory, then the last 32 by shuffles.
  const reduction = `extern "C" __global__ void total(const float* x, float* out) {
    DYNAMIC_SHARED(float, part);
    const int i = threadIdx.x;
    part[i] = x[blockIdx.x * 256 + i];
    __syncthreads();
    for (int by = 128; by >= 32; by >>= 1) {
      if (i < by) part[i] += part[i + by];
      __syncthreads();
    }
    if (i < 32) {
      const float sum = warpSum(part[i]);
      if (i == 0) atomicAdd(out, sum);
    }
  }`;
  test('sums in shared memory and by shuffles', () => {
    const kernel = build('total', reduction);
    const x = Float32Array.from({ length: 1024 }, (_, i) => i % 7);
    const [from, to] = [upload(x), upload(new Float32Array(1))];
    start(kernel, 4, 256, ['pointer', 'pointer'], [from, to], 1024);
    expect(floats(to, 1)[0]).toBe(x.reduce((a, b) => a + b));
  });

  test('shuffles, votes and warp reductions keep their meaning', () => {
    const kernel = build(
      'warp',
      `extern "C" __global__ void warp(int* out) {
        const int lane = threadIdx.x;
        int* mine = out + lane * 8;
        mine[0] = __shfl_sync(~0u, lane, 5);
        mine[1] = __shfl_up_sync(~0u, lane, 3);
        mine[2] = __shfl_down_sync(~0u, lane, 3);
        mine[3] = __shfl_xor_sync(~0u, lane, 1);
        mine[4] = __shfl_sync(~0u, lane, 1, 8);
        mine[5] = int(__ballot_sync(~0u, lane % 3 == 0));
        mine[6] = __reduce_add_sync(~0u, lane);
        mine[7] = __any_sync(~0u, lane == 9) * 2 + __all_sync(~0u, lane < 31);
      }`,
    );
    const at = upload(new Int32Array(256));
    start(kernel, 1, 32, ['pointer'], [at]);
    const got = new Int32Array(floats(at, 256).buffer);
    let ballot = 0;
    for (let lane = 0; lane < 32; lane += 3) ballot |= 1 << lane;
    for (let lane = 0; lane < 32; lane++) {
      const down = lane + 3 < 32 ? lane + 3 : lane;
      const want = [5, lane < 3 ? lane : lane - 3, down, lane ^ 1, (lane & 24) + 1, ballot, 496, 2];
      expect([...got.subarray(lane * 8, lane * 8 + 8)]).toEqual(want);
    }
  });

  // A is 16 x 16 by rows, B 8 x 16 by rows (that is, 16 x 8 by columns): one ldmatrix each, after cp.async.
  const product = (element: string, mma: string): string => `
    extern "C" __global__ void product(const ${element}* a, const ${element}* b, float* d) {
      __shared__ __align__(16) ${element} A[16][24];
      __shared__ __align__(16) ${element} B[8][24];
      const int lane = threadIdx.x;
      copyAsync<16>(&A[lane / 2][lane % 2 * 8], a + lane * 8);
      if (lane < 16) copyAsync<16>(&B[lane / 2][lane % 2 * 8], b + lane * 8);
      copyCommit();
      copyWait<0>();
      __syncwarp();
      u32 fa[4], fb[2];
      float fd[4] = {0, 0, 0, 0};
      loadMatrix4(fa, &A[lane % 16][lane / 16 * 8]);
      loadMatrix2(fb, &B[lane % 8][lane / 8 % 2 * 8]);
      ${mma}(fd, fa, fb);
      for (int i = 0; i < 4; i++) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = fd[i];
    }`;
  test.each([
    ['f16', 'mmaF16', (v: number) => halfBits(v)],
    ['bf16', 'mmaBf16', (v: number) => new Uint32Array(Float32Array.of(v).buffer)[0]! >>> 16],
  ] as const)('multiplies %s matrices with mma.m16n8k16', (element, mma, encode) => {
    const kernel = build('product', product(element, mma));
    const a = Array.from({ length: 256 }, (_, i) => ((i * 37) % 17) / 8 - 1);
    const b = Array.from({ length: 128 }, (_, i) => ((i * 23) % 13) / 4 - 1.5);
    const out = upload(new Float32Array(128));
    start(
      kernel,
      1,
      32,
      ['pointer', 'pointer', 'pointer'],
      [upload(Uint16Array.from(a, encode)), upload(Uint16Array.from(b, encode)), out],
    );
    const want = Array.from({ length: 128 }, (_, i) => {
      let sum = 0;
      for (let k = 0; k < 16; k++) sum += a[(i >> 3) * 16 + k]! * b[(i & 7) * 16 + k]!;
      return sum;
    });
    expect([...floats(out, 128)]).toEqual(want); // small dyadic numbers: exact
  });

  test('transposes with ldmatrix.trans and multiplies tf32', () => {
    const kernel = build(
      'tf32',
      `extern "C" __global__ void tf32(const float* a, const float* b, float* d, const u16* m, u16* t) {
        __shared__ __align__(16) u16 M[16][8];
        const int lane = threadIdx.x, row = lane / 4, quad = lane % 4;
        for (int i = lane; i < 128; i += 32) M[i / 8][i % 8] = m[i];
        __syncwarp();
        u32 r[2];
        loadMatrix2Transposed(r, &M[lane % 16][0]);
        for (int i = 0; i < 2; i++) *reinterpret_cast<u32*>(t + row * 16 + i * 8 + quad * 2) = r[i];
        u32 fa[4], fb[2];
        for (int i = 0; i < 4; i++) fa[i] = toTf32(a[(row + i % 2 * 8) * 8 + quad + i / 2 * 4]);
        for (int i = 0; i < 2; i++) fb[i] = toTf32(b[(quad + i * 4) * 8 + row]);
        float fd[4] = {1, 1, 1, 1};
        mmaTf32(fd, fa, fb);
        for (int i = 0; i < 4; i++) d[(row + i / 2 * 8) * 8 + quad * 2 + i % 2] = fd[i];
      }`,
    );
    const a = Float32Array.from({ length: 128 }, (_, i) => (i % 11) - 5);
    const b = Float32Array.from({ length: 64 }, (_, i) => (i % 5) / 2);
    const m = Uint16Array.from({ length: 128 }, (_, i) => i);
    const [d, t] = [upload(new Float32Array(128)), upload(new Uint16Array(128))];
    start(kernel, 1, 32, Array<ArgumentType>(5).fill('pointer'), [upload(a), upload(b), d, upload(m), t]);
    const want = Array.from({ length: 128 }, (_, i) => {
      let sum = 1;
      for (let k = 0; k < 8; k++) sum += a[(i >> 3) * 8 + k]! * b[k * 8 + (i & 7)]!;
      return sum;
    });
    expect([...floats(d, 128)]).toEqual(want);
    const transposed = new Uint16Array(floats(t, 64).buffer);
    for (let r = 0; r < 8; r++)
      for (let c = 0; c < 16; c++) expect(transposed[r * 16 + c]).toBe(m[c * 8 + r]);
  });

  test('rounds to half formats as the device does', () => {
    const kernel = build(
      'rounding',
      `extern "C" __global__ void rounding(const float* x, u32* out, float* back, int n) {
        const int i = threadIdx.x;
        if (i >= n) return;
        out[2 * i] = packF16(x[i], -x[i]);
        out[2 * i + 1] = packBf16(x[i], -x[i]);
        back[2 * i] = toFloat(fromFloat<f16>(x[i]));
        back[2 * i + 1] = toFloat(fromFloat<bf16>(x[i]));
      }`,
    );
    const x = Float32Array.of(0, 1, 65504, 65519, 65520, 6e-8, 2e-8, 1 / 3, 1e38, Infinity, 1.00390625, 0.1);
    const n = x.length;
    const [out, back] = [upload(new Float32Array(2 * n)), upload(new Float32Array(2 * n))];
    start(kernel, 1, 32, ['pointer', 'pointer', 'pointer', 'i32'], [upload(x), out, back, n]);
    const got = new Uint32Array(floats(out, 2 * n).buffer);
    const decoded = floats(back, 2 * n);
    x.forEach((v, i) => {
      expect(got[2 * i]).toBe((halfBits(v) | (halfBits(-v) << 16)) >>> 0);
      expect(decoded[2 * i + 1]).toBe(bf16(v));
      expect(got[2 * i + 1]! & 0xffff).toBe(new Uint32Array(Float32Array.of(bf16(v)).buffer)[0]! >>> 16);
    });
    expect([decoded[4], decoded[8], decoded[10]]).toEqual([65504, Infinity, 2 ** -24]);
  });

  test('copies through pinned memory, waits for events on a worker, measures time', async () => {
    const { driver } = cuda;
    const pinned = driver.hostAlloc(4096);
    new Float32Array(pinned).fill(3);
    const [a, b] = [driver.allocAsync(4096, stream), driver.allocAsync(4096, stream)];
    const [before, after] = [driver.eventCreate(true), driver.eventCreate(true)];
    driver.eventRecord(before, stream);
    driver.copyToDevice(a, pinned, stream);
    driver.copyOnDevice(b, a, 4096, stream);
    driver.fillWords(b, 0x3f800000, 512, stream);
    driver.copyToHost(pinned, b, stream);
    driver.eventRecord(after, stream);
    const other = driver.streamCreate(-1);
    driver.streamWait(other, after);
    await driver.eventWait(after);
    expect(driver.eventReady(after) && driver.streamReady(other)).toBe(true);
    expect(driver.eventElapsed(before, after)).toBeGreaterThanOrEqual(0);
    const values = new Float32Array(pinned);
    expect([values[0], values[511], values[512], values[1023]]).toEqual([1, 1, 3, 3]);
    driver.hostFree(pinned);
    expect(pinned.byteLength).toBe(0);
    for (const event of [before, after]) driver.eventDestroy(event);
    for (const address of [a, b]) driver.freeAsync(address, stream);
    driver.streamDestroy(other);
  });

  test('captures launches and copies, and does them again', () => {
    const { driver } = cuda;
    const kernel = build('twice', `extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }`);
    const x = upload(Float32Array.of(1, 2, 3, 4));
    const y = upload(new Float32Array(4));
    const side = driver.streamCreate(0);
    const [fork, join] = [driver.eventCreate(false), driver.eventCreate(false)];
    driver.captureBegin(stream, 1);
    start(kernel, 1, 4, ['pointer'], [x]);
    driver.eventRecord(fork, stream);
    driver.streamWait(side, fork);
    driver.copyOnDevice(y, x, 16, side);
    driver.eventRecord(join, side);
    driver.streamWait(stream, join);
    expect(() => driver.streamSynchronize(stream)).toThrow(/CAPTURE_UNSUPPORTED/);
    const graph = driver.captureEnd(stream);
    const instance = driver.graphInstantiate(graph);
    driver.graphDestroy(graph);
    expect([...floats(x, 4)]).toEqual([1, 2, 3, 4]);
    for (let i = 0; i < 3; i++) driver.graphLaunch(instance, stream);
    expect([...floats(y, 4)]).toEqual([8, 16, 24, 32]);
    driver.instanceDestroy(instance);
  });

  test('a kernel that does not compile is an error with its label and its own line', async () => {
    const source = kernelText('\nextern "C" __global__ void broken(float* x) {\n  x[0] = oops;\n}');
    expect(() => compile(cuda.nvrtc, 'map/broken', source, [])).toThrow(
      /map\/broken: the kernel does not compile:\nmap\/broken\.cu: .*map\/broken\.cu:3:.*oops/s,
    );
    await expect(compileAsync(cuda.nvrtc, 'map/broken', source, [])).rejects.toThrow(/broken\.cu:3:/);
    const fine = kernelText('extern "C" __global__ void fine(float* x) {}');
    expect((await compileAsync(cuda.nvrtc, 'fine', fine, [])).length).toBeGreaterThan(100);
  });

  test('bad calls name library, call, code, text and label', () => {
    const { driver } = cuda;
    const kernel = build('total', reduction);
    expect(() => start(kernel, 1, 2048, ['pointer', 'pointer'], [0, 0])).toThrow(
      /^cuda: test: libcuda: cuLaunchKernel failed with 1: CUDA_ERROR_INVALID_VALUE: .*2048 threads/,
    );
    expect(() => start(kernel, 1, 32, ['pointer'], [0])).toThrow(/takes 16 bytes of arguments, 8 were given/);
    const shared = 60_000;
    expect(() => start(kernel, 1, 32, ['pointer', 'pointer'], [0, 0], shared)).toThrow(/49152 are allowed/);
    driver.functionSet(kernel, functionAttribute.maxDynamicSharedBytes, shared);
    expect(() => driver.functionSet(kernel, functionAttribute.maxDynamicSharedBytes, 1e6)).toThrow(
      /has 166912/,
    );
    expect(() => driver.alloc(2 ** 40)).toThrow(/cuMemAlloc_v2 failed with 2: CUDA_ERROR_OUT_OF_MEMORY/);
    expect(() => driver.copyToDevice(upload(new Float32Array(4)), new Uint8Array(17), stream)).toThrow(
      /copy to the device of 17 bytes, the first at byte 0 of an allocation of 16 bytes/,
    );
    expect(driver.deviceAttribute(0, deviceAttribute.computeMajor)).toBe(8);
  });
});

function halfBits(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  const steps = size / 2 ** (exponent - 10);
  const low = Math.floor(steps);
  const up = steps - low > 0.5 || (steps - low === 0.5 && low % 2 === 1);
  return sign | (low + (up ? 1 : 0) + (size === 0 ? 0 : (exponent + 14) * 1024));
}
function bf16(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!;
  const rounded = ((bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000) >>> 0;
  return new Float32Array(Uint32Array.of(rounded).buffer)[0]!;
}
