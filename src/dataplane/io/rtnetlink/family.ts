/** Address families (linux/socket.h). */
export const AF_INET = 2;
export const AF_INET6 = 10;

export const familyOf = (address: Uint8Array): number => (address.length === 4 ? AF_INET : AF_INET6);
