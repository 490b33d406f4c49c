// cuDNN's descriptors as objects: typed values in, numbers out. Graphs, engine choices and plans are made of these.
// The names are cuDNN's in camelCase, without CUDNN_BACKEND_, CUDNN_ATTR_ and CUDNN_TYPE_.

import type { Address, Cudnn } from './native.ts';

export const cudnnKind = {
  pointwise: 0,
  convolution: 1,
  engine: 2,
  enginecfg: 3,
  engineheur: 4,
  executionPlan: 5,
  knobChoice: 7,
  operationConvolutionForward: 10,
  operationPointwise: 13,
  operationgraph: 15,
  tensor: 17,
  deviceprop: 38,
  operationSdpaFwd: 41,
} as const;

export const cudnnAttribute = {
  pointwiseMode: 0,
  pointwiseMathPrec: 1,
  pointwiseSwishBeta: 8,
  convolutionCompType: 100,
  convolutionConvMode: 101,
  convolutionDilations: 102,
  convolutionFilterStrides: 103,
  convolutionPostPaddings: 104,
  convolutionPrePaddings: 105,
  convolutionSpatialDims: 106,
  engineheurMode: 200,
  engineheurOperationGraph: 201,
  engineheurResults: 202,
  engineheurDeviceprop: 204,
  enginecfgEngine: 300,
  enginecfgKnobChoices: 302,
  executionPlanHandle: 400,
  executionPlanEngineConfig: 401,
  executionPlanWorkspaceSize: 402,
  executionPlanJsonRepresentation: 405,
  executionPlanDeviceprop: 407,
  knobChoiceKnobType: 600,
  knobChoiceKnobValue: 601,
  operationConvolutionForwardAlpha: 700,
  operationConvolutionForwardBeta: 701,
  operationConvolutionForwardConvDesc: 702,
  operationConvolutionForwardW: 703,
  operationConvolutionForwardX: 704,
  operationConvolutionForwardY: 705,
  operationPointwisePwDescriptor: 750,
  operationPointwiseXdesc: 751,
  operationPointwiseBdesc: 752,
  operationPointwiseYdesc: 753,
  operationgraphHandle: 800,
  operationgraphOps: 801,
  tensorByteAlignment: 900,
  tensorDataType: 901,
  tensorDimensions: 902,
  tensorStrides: 903,
  tensorUniqueId: 906,
  tensorIsVirtual: 907,
  tensorIsByValue: 908,
  engineOperationGraph: 1300,
  engineGlobalIndex: 1301,
  engineNumericalNote: 1303,
  engineBehaviorNote: 1305,
  engineDeviceprop: 1307,
  devicepropDeviceId: 2700,
  devicepropHandle: 2701,
  devicepropJsonRepresentation: 2702,
  operationSdpaFwdQdesc: 2800,
  operationSdpaFwdKdesc: 2801,
  operationSdpaFwdVdesc: 2802,
  operationSdpaFwdOdesc: 2803,
  operationSdpaFwdScaledesc: 2805,
} as const;

/** Types of attribute values; those not named here are enumerations of 4 bytes. */
export const cudnnType = {
  handle: 0,
  dataType: 1,
  boolean: 2,
  int64: 3,
  float: 4,
  double: 5,
  voidPtr: 6,
  convolutionMode: 7,
  heurMode: 8,
  knobType: 9,
  numericalNote: 11,
  pointwiseMode: 14,
  backendDescriptor: 15,
  behaviorNote: 19,
  int32: 23,
  char: 24,
} as const;

export const cudnnDataType = { float32: 0, float16: 2, bfloat16: 9 } as const;
/** CUDNN_POINTWISE_*; gelu is the exact one, by erf. */
export const cudnnPointwise = { add: 0, gelu: 104, swish: 106, geluTanh: 107 } as const;
export const cudnnHeuristics = { fallback: 2, a: 3 } as const;
/** CUDNN_NUMERICAL_NOTE_*: what an engine does to the numbers. */
export const cudnnNote = {
  tensorCore: 0,
  downConvertInputs: 1,
  reducedPrecisionReduction: 2,
  nondeterministic: 4,
} as const;
/** CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION */
export const cudnnRuntimeCompilation = 0;
/** CUDNN_STATUS_*; notSupported is the first of a thousand codes. */
export const cudnnStatus = {
  notSupported: 3000,
  internalError: 4000,
  compilationFailed: 4001,
  unexpectedValue: 4002,
  deviceAllocationFailed: 4004,
} as const;
export const cudnnCrossCorrelation = 1;

export type CudnnKind = keyof typeof cudnnKind;
export type CudnnAttribute = keyof typeof cudnnAttribute;
export type CudnnType = keyof typeof cudnnType;

const addresses: ReadonlySet<CudnnType> = new Set(['handle', 'voidPtr', 'backendDescriptor']);

function encode(type: CudnnType, values: readonly number[]): ArrayBufferView {
  if (addresses.has(type)) return BigUint64Array.from(values, BigInt);
  if (type === 'int64') return BigInt64Array.from(values, BigInt);
  if (type === 'float') return Float32Array.from(values);
  if (type === 'double') return Float64Array.from(values);
  return type === 'boolean' || type === 'char' ? Uint8Array.from(values) : Int32Array.from(values);
}

/** One backend descriptor. It must be finalized before another may refer to it; dispose it after those. */
export class CudnnDescriptor {
  readonly address: Address;
  readonly #cudnn: Cudnn;

  constructor(cudnn: Cudnn, kind: CudnnKind) {
    this.#cudnn = cudnn;
    this.address = cudnn.descriptor(cudnnKind[kind]);
  }

  /** Descriptors may stand for their addresses. */
  set(attribute: CudnnAttribute, type: CudnnType, ...values: readonly (number | CudnnDescriptor)[]): this {
    const numbers = values.map((v) => (typeof v === 'number' ? v : v.address));
    const bytes = encode(type, numbers);
    this.#cudnn.setAttribute(this.address, cudnnAttribute[attribute], cudnnType[type], values.length, bytes);
    return this;
  }

  /** Sets an attribute of type char. */
  setBytes(attribute: CudnnAttribute, bytes: Uint8Array): this {
    const [name, kind] = [cudnnAttribute[attribute], cudnnType.char];
    this.#cudnn.setAttribute(this.address, name, kind, bytes.length, bytes);
    return this;
  }

  finalize(): this {
    this.#cudnn.finalize(this.address);
    return this;
  }

  /** Number of values of the attribute. */
  count(attribute: CudnnAttribute, type: CudnnType): number {
    return this.#cudnn.getAttribute(this.address, cudnnAttribute[attribute], cudnnType[type], 0);
  }

  /** At most `room` values. For descriptors give ones of the right kind, which are filled: see `fill`. */
  get(attribute: CudnnAttribute, type: CudnnType, room = 1): number[] {
    const bytes = encode(type, Array<number>(room).fill(0)) as Int32Array | BigInt64Array;
    const [name, kind] = [cudnnAttribute[attribute], cudnnType[type]];
    const count = this.#cudnn.getAttribute(this.address, name, kind, room, bytes);
    return [...bytes].slice(0, count).map(Number);
  }

  /** All of an attribute of type char. */
  bytes(attribute: CudnnAttribute): Uint8Array {
    const out = new Uint8Array(this.count(attribute, 'char'));
    const [name, kind] = [cudnnAttribute[attribute], cudnnType.char];
    return out.subarray(0, this.#cudnn.getAttribute(this.address, name, kind, out.length, out));
  }

  /** Fills as many of the descriptors given as there are; gives those. */
  fill(attribute: CudnnAttribute, into: readonly CudnnDescriptor[]): readonly CudnnDescriptor[] {
    const bytes = BigUint64Array.from(into, (d) => BigInt(d.address));
    const [name, kind] = [cudnnAttribute[attribute], cudnnType.backendDescriptor];
    const count = this.#cudnn.getAttribute(this.address, name, kind, into.length, bytes);
    return into.slice(0, count);
  }

  [Symbol.dispose](): void {
    this.#cudnn.descriptorDestroy(this.address);
  }
}
