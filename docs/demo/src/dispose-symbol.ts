// Symbol.dispose for browsers that have WebGPU but not yet this symbol. Imported before anything that uses it.

if (!Symbol.dispose) {
  Object.defineProperty(Symbol, 'dispose', { value: Symbol('Symbol.dispose') });
}
