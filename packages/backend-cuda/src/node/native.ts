// The addon's exports, declared by hand (native/*.cc). Handles and device addresses are numbers below 2^53; calls
// throw NativeError. Nothing here decides anything.

/** Properties of a failed call's error. `code` is -1 where a library or function is missing. */
export interface NativeError extends Error {
  readonly library: string;
  readonly call: string;
  readonly code: number;
  readonly text: string;
}

export type Address = number;
export type Stream = number;
export type Event = number;
export type Graph = number;
export type GraphInstance = number;
export type CudaModule = number;
export type CudaFunction = number;
export type Bytes = ArrayBuffer | ArrayBufferView;

export interface Driver {
  /** Opens libcuda; gives the path that the loader took. A second call does nothing. */
  open(path: string): string;
  init(): void;
  /** 13000 for CUDA 13.0. */
  version(): number;
  deviceCount(): number;
  deviceName(device: number): string;
  deviceAttribute(device: number, attribute: number): number;
  deviceBytes(device: number): number;
  contextRetain(device: number): Address;
  contextRelease(device: number): void;
  /** Makes it this thread's context. */
  contextUse(context: Address): void;
  contextSynchronize(): void;

  memoryInfo(): { readonly free: number; readonly total: number };
  alloc(bytes: number): Address;
  free(address: Address): void;
  /** Ordered with the stream; only where deviceAttribute.memoryPools is 1. */
  allocAsync(bytes: number, stream: Stream): Address;
  freeAsync(address: Address, stream: Stream): void;
  /** The device's default pool; attributes are `poolAttribute`. */
  poolSet(device: number, attribute: number, value: number): void;
  poolGet(device: number, attribute: number): number;
  poolTrim(device: number, keepBytes: number): void;
  /** Pinned memory. It goes back to the driver with hostFree, or when collected. */
  hostAlloc(bytes: number): ArrayBuffer;
  /** Detaches the buffer: its length is 0 at once, its memory goes back after this turn of the event loop. */
  hostFree(buffer: ArrayBuffer): void;
  /** The address of the bytes; valid as long as the buffer is reachable and not detached. */
  hostAddress(bytes: Bytes): Address;

  /** From pageable memory the source may be reused at once; from pinned memory only after the stream got there. */
  copyToDevice(to: Address, from: Bytes, stream: Stream): void;
  /** Into pageable memory this waits; into pinned memory it does not. */
  copyToHost(to: Bytes, from: Address, stream: Stream): void;
  copyOnDevice(to: Address, from: Address, bytes: number, stream: Stream): void;
  fillBytes(at: Address, value: number, count: number, stream: Stream): void;
  /** `count` 32-bit words; the address is a multiple of 4. */
  fillWords(at: Address, value: number, count: number, stream: Stream): void;

  /** Lower numbers come first; 0 is the default, -1 and less are more urgent. */
  streamCreate(priority: number): Stream;
  streamDestroy(stream: Stream): void;
  streamSynchronize(stream: Stream): void;
  streamReady(stream: Stream): boolean;
  streamWait(stream: Stream, event: Event): void;
  eventCreate(timed: boolean): Event;
  eventDestroy(event: Event): void;
  eventRecord(event: Event, stream: Stream): void;
  eventReady(event: Event): boolean;
  eventSynchronize(event: Event): void;
  /** Waits on a worker thread. */
  eventWait(event: Event): Promise<void>;
  /** Milliseconds between two timed events that both have happened. */
  eventElapsed(from: Event, to: Event): number;

  moduleLoad(cubin: Bytes): CudaModule;
  moduleUnload(module: CudaModule): void;
  moduleFunction(module: CudaModule, name: string): CudaFunction;
  /** Attributes are `functionAttribute`. */
  functionSet(kernel: CudaFunction, attribute: number, value: number): void;
  functionGet(kernel: CudaFunction, attribute: number): number;
  /** Blocks of so many threads and bytes of dynamic shared memory that fit a multiprocessor at once. */
  functionBlocks(kernel: CudaFunction, threads: number, sharedBytes: number): number;
  /** `block` holds the arguments as in a C struct, not a byte more (see ArgumentBlock). */
  launch(
    kernel: CudaFunction,
    gridX: number,
    gridY: number,
    gridZ: number,
    blockX: number,
    blockY: number,
    blockZ: number,
    sharedBytes: number,
    stream: Stream,
    block: ArrayBuffer,
  ): void;

  /** Mode: 0 global, 1 this thread, 2 relaxed. */
  captureBegin(stream: Stream, mode: number): void;
  captureEnd(stream: Stream): Graph;
  graphInstantiate(graph: Graph): GraphInstance;
  graphLaunch(instance: GraphInstance, stream: Stream): void;
  graphDestroy(graph: Graph): void;
  instanceDestroy(instance: GraphInstance): void;
}

/** Without `cubin` the source did not compile, and the log says why. With it, the log may hold warnings. */
export interface Compiled {
  readonly cubin?: Uint8Array;
  readonly log: string;
}
export interface Nvrtc {
  open(path: string, builtins?: string): string;
  /** '13.0' */
  version(): string;
  compile(source: string, name: string, options: readonly string[]): Compiled;
  compileAsync(source: string, name: string, options: readonly string[]): Promise<Compiled>;
}

/** A column-major matrix; batches lie `batchStride` elements apart. `type` is one of cublasType. */
export interface CublasMatrix {
  readonly type: number;
  readonly rows: number;
  readonly columns: number;
  readonly leading: number;
  readonly batch?: number;
  readonly batchStride?: number;
}
/** D = alpha op(A) op(B) + beta C, then the epilogue; numbers are of cublasCompute, cublasType, cublasEpilogue. */
export interface CublasProblem {
  readonly compute: number;
  readonly scale: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly epilogue: number;
  /** Given exactly when the epilogue has a bias: one value for each row of D. */
  readonly biasType?: number;
  readonly biasBatchStride?: number;
  readonly a: CublasMatrix;
  readonly b: CublasMatrix;
  readonly c: CublasMatrix;
  readonly d: CublasMatrix;
}
export interface CublasAlgorithm {
  /** Names it in `run` of the same problem. */
  readonly id: number;
  readonly workspaceBytes: number;
  readonly waves: number;
  /** 64 opaque bytes for `restore`, valid for the same library version and device. */
  readonly data: ArrayBuffer;
}
export interface CublasLt {
  open(path: string): string;
  version(): number;
  create(): Address;
  destroy(handle: Address): void;
  problem(problem: CublasProblem): Address;
  problemDestroy(problem: Address): void;
  /**
   * At most `most` algorithms, best guess first. `reductions`: sum of cublasReduction for the parts of a split k;
   * alignments are bytes that the addresses of a, b, c, d keep.
   */
  algorithms(
    handle: Address,
    problem: Address,
    workspaceBytes: number,
    reductions: number,
    alignments: readonly [number, number, number, number],
    most: number,
  ): CublasAlgorithm[];
  restore(handle: Address, problem: Address, data: ArrayBuffer): CublasAlgorithm | undefined;
  run(
    handle: Address,
    problem: Address,
    algorithm: number,
    alpha: number,
    beta: number,
    a: Address,
    b: Address,
    c: Address,
    d: Address,
    bias: Address,
    workspace: Address,
    workspaceBytes: number,
    stream: Stream,
  ): void;
}

export interface Cudnn {
  open(path: string): string;
  version(): number;
  create(): Address;
  destroy(handle: Address): void;
  setStream(handle: Address, stream: Stream): void;
  /** A descriptor of one CUDNN_BACKEND_*_DESCRIPTOR kind. */
  descriptor(kind: number): Address;
  descriptorDestroy(descriptor: Address): void;
  setAttribute(descriptor: Address, attribute: number, type: number, count: number, values: Bytes): void;
  /** Number of values; at most `room` are written. Descriptors must be made before and be in `values`. */
  getAttribute(descriptor: Address, attribute: number, type: number, room: number, values?: Bytes): number;
  finalize(descriptor: Address): void;
  /** Runs the plan on the handle's stream; a by-value tensor's pointer is a host address. */
  execute(
    handle: Address,
    plan: Address,
    ids: BigInt64Array,
    pointers: BigUint64Array,
    workspace: Address,
  ): void;
}

/** The addon's calls, by library; each is thin and throws the library's own error. */
export interface NativeAddon {
  readonly driver: Driver;
  readonly nvrtc: Nvrtc;
  readonly cublasLt: CublasLt;
  readonly cudnn: Cudnn;
}

/** CU_DEVICE_ATTRIBUTE_* */
export const deviceAttribute = {
  maxThreadsPerBlock: 1,
  maxGridX: 5,
  sharedBytesPerBlock: 8,
  warpSize: 10,
  clockKilohertz: 13,
  multiprocessors: 16,
  memoryClockKilohertz: 36,
  memoryBusBits: 37,
  l2Bytes: 38,
  maxThreadsPerMultiprocessor: 39,
  unifiedAddressing: 41,
  computeMajor: 75,
  computeMinor: 76,
  sharedBytesPerMultiprocessor: 81,
  registersPerMultiprocessor: 82,
  sharedBytesPerBlockOptIn: 97,
  memoryPools: 115,
} as const;

/** CU_FUNC_ATTRIBUTE_* */
export const functionAttribute = {
  maxThreadsPerBlock: 0,
  sharedBytes: 1,
  localBytes: 3,
  registers: 4,
  maxDynamicSharedBytes: 8,
  sharedCarveout: 9,
} as const;

/** CU_MEMPOOL_ATTR_* */
export const poolAttribute = {
  releaseThreshold: 4,
  reserved: 5,
  reservedPeak: 6,
  used: 7,
  usedPeak: 8,
} as const;

/** cudaDataType */
export const cublasType = { float32: 0, float16: 2, bfloat16: 14 } as const;
/** CUBLAS_COMPUTE_*: all accumulate in float32; tf32 rounds float32 inputs for the tensor cores. */
export const cublasCompute = { float32: 68, tf32: 77 } as const;
/** CUBLASLT_REDUCTION_SCHEME_*: where parts of a split k are added up, and so in which type. */
export const cublasReduction = { inplace: 1, computeType: 2, outputType: 4 } as const;
/** CUBLASLT_EPILOGUE_*; gelu is the tanh approximation. */
export const cublasEpilogue = { none: 1, relu: 2, bias: 4, reluBias: 6, gelu: 32, geluBias: 36 } as const;
