<?php
/**
 * Stands in for pullgate's publish listener: writes down every request and answers as it was told.
 *
 *     php recorder.php ADDRESS LOG ANSWER...
 *
 * Prints the address it listens at (tcp://127.0.0.1:0 takes a free port). The n-th connection gets the
 * n-th answer, those after the last the last: "200", "400 why", or
 *
 *     close     nothing, and the connection closes
 *     silent    nothing, and it stays open
 *     drip      a head that comes byte by byte and never ends
 *     early     413 before the request has been read
 */

list(, $address, $log) = $argv;
$answers = array_slice($argv, 3);
$server = stream_socket_server($address);
echo stream_socket_get_name($server, false), "\n";
$open = []; // keeps silent connections from being closed

for ($n = 0; ; $n++) {
    $client = stream_socket_accept($server, 3600);
    if ($client === false) {
        continue;
    }
    $answer = $answers[min($n, count($answers) - 1)];
    if ($answer === 'early') {
        fwrite($client, "HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\n\r\ntoo much");
        stream_socket_shutdown($client, STREAM_SHUT_WR);
        usleep(300000); // unread bytes would turn the close into a reset that takes the answer along
        fclose($client);
        continue;
    }
    if ($answer === 'silent') {
        $open[] = $client;
        continue;
    }
    $head = '';
    while (substr($head, -4) !== "\r\n\r\n" && ($byte = fread($client, 1)) !== false && $byte !== '') {
        $head .= $byte;
    }
    $lines = explode("\r\n", rtrim($head));
    $request = ['line' => array_shift($lines), 'headers' => [], 'body' => ''];
    foreach ($lines as $line) {
        list($name, $value) = explode(': ', $line, 2);
        $request['headers'][strtolower($name)] = $value;
    }
    $length = (int)$request['headers']['content-length'];
    while (($left = $length - strlen($request['body'])) > 0 && !feof($client)) {
        $request['body'] .= fread($client, $left); // asked for more than there is, PHP waits
    }
    file_put_contents($log, json_encode($request) . "\n", FILE_APPEND);
    if ($answer === 'drip') {
        while (@fwrite($client, 'x')) {
            usleep(100000);
        }
    } elseif ($answer !== 'close') {
        list($status, $text) = explode(' ', "$answer ", 2);
        @fwrite($client, "HTTP/1.1 $status Reason\r\nContent-Type: text/plain\r\n\r\n" . trim($text));
    }
    fclose($client);
}
