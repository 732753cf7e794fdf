/** Of this package: a label of `millrace_info`. Its file is not read, as an application may be bundled. */
export const VERSION = "0.1.0";
