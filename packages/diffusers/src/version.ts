/** The version of this package, written into pictures. */
export const version = '0.1.0';
