// Encodes ONNX models by hand (protobuf of onnx.proto): float32, opset 17, any number of nodes.

const varint = (value: number): number[] => {
  const out: number[] = [];
  for (let v = value; ; v = Math.floor(v / 128)) {
    if (v < 128) return [...out, v];
    out.push((v % 128) | 128);
  }
};
const integer = (field: number, value: number): number[] => [...varint(field << 3), ...varint(value)];
const header = (field: number, bytes: number): number[] => [...varint((field << 3) | 2), ...varint(bytes)];
const block = (field: number, bytes: readonly number[]): number[] => [
  ...header(field, bytes.length),
  ...bytes,
];
const text = (s: string): number[] => [...new TextEncoder().encode(s)];

export interface OnnxTensor {
  readonly name: string;
  readonly shape: readonly number[];
}
export interface OnnxConstant extends OnnxTensor {
  readonly values: Float32Array;
}
export interface OnnxNode {
  readonly op: string;
  /** Default: ONNX's own. */
  readonly domain?: 'com.microsoft';
  readonly inputs: readonly string[];
  readonly output: string;
  /** Lists of integers, or one. */
  readonly attributes?: Readonly<Record<string, readonly number[] | number>>;
}
export interface OnnxGraph {
  readonly inputs: readonly OnnxTensor[];
  readonly constants?: readonly OnnxConstant[];
  readonly nodes: readonly OnnxNode[];
  readonly output: OnnxTensor;
}

function valueInfo({ name, shape }: OnnxTensor): number[] {
  const dims = shape.flatMap((d) => block(1, integer(1, d)));
  return [...block(1, text(name)), ...block(2, block(1, [...integer(1, 1), ...block(2, dims)]))];
}

function attribute(name: string, value: readonly number[] | number): number[] {
  const payload =
    typeof value === 'number'
      ? [...integer(3, value), ...integer(20, 2)]
      : [...value.flatMap((v) => integer(8, v)), ...integer(20, 7)];
  return block(5, [...block(1, text(name)), ...payload]);
}

function encodeNode(node: OnnxNode): number[] {
  return block(1, [
    ...node.inputs.flatMap((name) => block(1, text(name))),
    ...block(2, text(node.output)),
    ...block(4, text(node.op)),
    ...Object.entries(node.attributes ?? {}).flatMap(([name, value]) => attribute(name, value)),
    ...(node.domain ? block(7, text(node.domain)) : []),
  ]);
}

const opset = (domain: string, version: number): number[] =>
  block(8, [...block(1, text(domain)), ...integer(2, version)]);

export function encodeModel({ inputs, constants = [], nodes, output }: OnnxGraph): Uint8Array {
  // Constants are large: they are joined as bytes, everything else as lists.
  const weights = constants.map(({ name, shape, values }) => {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const fields = [...shape.flatMap((d) => integer(1, d)), ...integer(2, 1), ...block(8, text(name))];
    const raw = header(9, bytes.length);
    return [
      Uint8Array.from([...header(5, fields.length + raw.length + bytes.length), ...fields, ...raw]),
      bytes,
    ];
  });
  const rest = Uint8Array.from([
    ...nodes.flatMap(encodeNode),
    ...block(2, text('g')),
    ...inputs.flatMap((t) => block(11, valueInfo(t))),
    ...block(12, valueInfo(output)),
  ]);
  const parts = [...weights.flat(), rest];
  const graphBytes = parts.reduce((sum, part) => sum + part.length, 0);
  const opsets = [opset('', 17), ...(nodes.some((n) => n.domain) ? [opset('com.microsoft', 1)] : [])];
  return new Uint8Array(
    Buffer.concat([
      Uint8Array.from([...integer(1, 8), ...header(7, graphBytes)]),
      ...parts,
      Uint8Array.from(opsets.flat()),
    ]),
  );
}
